-- Failed logins are counted here, so that a restart forgets none; and an address can be changed for another by mail.

create table login_counters (
    -- SHA-256 of whom it counts: a client's address (IPv6 by its /64), or that together with the e-mail address it tried.
    counter_sha256 bytea       primary key,
    -- Failures in a row without a quiet day between two of them. An attempt is counted when it begins and taken back when it
    -- was right: many at once are slowed like one after the other.
    failures       integer     not null,
    last_failed_at timestamptz not null,
    constraint login_counters_hash_length check (length(counter_sha256) = 32),
    constraint login_counters_failures_range check (failures >= 0)
);
create index login_counters_old on login_counters (last_failed_at);

-- From where somebody has logged in before: failures elsewhere, and of others at that address, don't count against him there.
create table known_addresses (
    -- SHA-256 of the client's address and the e-mail address, as login_counters has it.
    pair_sha256  bytea       primary key,
    -- Whose it is: it goes with him.
    user_id      bigint      not null references users (user_id) on delete cascade,
    last_seen_at timestamptz not null,
    constraint known_addresses_hash_length check (length(pair_sha256) = 32)
);
create index known_addresses_by_user on known_addresses (user_id);
create index known_addresses_old on known_addresses (last_seen_at);

alter table one_time_tokens
    drop constraint one_time_tokens_purpose_known,
    -- 'change_email': the address that it was sent to becomes its user's.
    add constraint one_time_tokens_purpose_known check (purpose in ('password_reset', 'verify_email', 'change_email'));
