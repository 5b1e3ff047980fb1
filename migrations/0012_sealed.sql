-- What must not be read in a dump of the database is sealed by the program; second factors; sessions end for good.

-- A mail that waits can't be sealed here, for the database has no key: whoever misses one asks for it again.
delete from mail_outbox where num_nonnulls(sent_at, failed_at, withheld_at) = 0;
alter table mail_outbox
    drop constraint mail_outbox_text_length,
    drop column text_body,
    drop column html_body,
    -- Both bodies, sealed for the dedupe key (AES-256-GCM); emptied once the mail is gone. Some carry a token.
    add column sealed_bodies bytea not null default '',
    add constraint mail_outbox_text_length check (length(kind) <= 64 and length(dedupe_key) <= 200 and length(recipient) <= 254 and length(subject) <= 200 and length(sealed_bodies) <= 100000 and length(last_error) <= 500);
alter table mail_outbox alter column sealed_bodies drop default;

-- Sessions are forgotten some time after they were over, whichever way they ended.
drop index sessions_expired;
create index sessions_over on sessions (coalesce(revoked_at, expires_at));

-- A user's second factor: the secret that his authenticator app computes codes from (TOTP, RFC 6238).
create table second_factors (
    user_id       bigint      primary key references users (user_id) on delete cascade,
    -- The 20 bytes, sealed for this user.
    sealed_secret bytea       not null,
    -- When it was asked for.
    created_at    timestamptz not null,
    -- When a first code proved that the app has it; null: it is not asked for at the login yet.
    activated_at  timestamptz,
    -- The newest step (30 seconds each, since 1970) whose code was used; a code of this step or an older one opens nothing.
    last_step     bigint      not null,
    constraint second_factors_secret_length check (length(sealed_secret) between 30 and 200),
    constraint second_factors_step_range check (last_step >= 0)
);

-- What opens the door once each when the app is lost.
create table recovery_codes (
    user_id     bigint      not null references second_factors (user_id) on delete cascade,
    -- SHA-256 of user and code: 80 random bits, so nothing slower is needed.
    code_sha256 bytea       not null,
    created_at  timestamptz not null,
    used_at     timestamptz,
    primary key (user_id, code_sha256),
    constraint recovery_codes_hash_length check (length(code_sha256) = 32)
);
