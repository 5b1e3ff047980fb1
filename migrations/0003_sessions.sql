-- Where somebody is logged in. The access token names its session; every request checks it, so revoking works at once (C4).
create table sessions (
    session_id         uuid        primary key,
    user_id            bigint      not null references users (user_id) on delete cascade,
    -- Longer refresh life, asked for at login.
    remember_me        boolean     not null,
    -- How often its refresh token was rotated; a refresh token of an older generation is a replay.
    generation         integer     not null default 0,
    client_address     text        not null default '',
    user_agent         text        not null default '',
    created_at         timestamptz not null,
    last_refreshed_at  timestamptz not null,
    -- End of the refresh token's life; moved on by each rotation.
    expires_at         timestamptz not null,
    revoked_at         timestamptz,
    -- 'logout', 'logout_all', 'password_changed', 'refresh_reused', 'user_suspended', 'user_deleted'.
    revoked_reason     text,
    constraint sessions_generation_range check (generation >= 0),
    constraint sessions_text_length check (length(client_address) <= 64 and length(user_agent) <= 400),
    constraint sessions_revocation_whole check ((revoked_at is null) = (revoked_reason is null))
);
create index sessions_by_user on sessions (user_id, created_at desc);
create index sessions_expired on sessions (expires_at);

create table refresh_tokens (
    -- The token's jti; the signed token itself is never stored.
    token_id    uuid        primary key,
    session_id  uuid        not null references sessions (session_id) on delete cascade,
    -- The session's generation when it was issued.
    generation  integer     not null,
    issued_at   timestamptz not null,
    -- First use. A second use within the grace is a parallel tab, later it is theft.
    rotated_at  timestamptz,
    constraint refresh_tokens_generation_range check (generation >= 0)
);
create index refresh_tokens_by_session on refresh_tokens (session_id);
