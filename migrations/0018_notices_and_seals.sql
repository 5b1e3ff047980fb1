-- What an account was told of its credits, and the seals that show that no old entry was altered.

create table credit_notices (
    account_id bigint      primary key references accounts (account_id),
    -- Where its credits stood when somebody last looked: 'enough', 'low', 'used_up'. A notice is written when it gets worse.
    level      text        not null,
    -- When it changed.
    changed_at timestamptz not null,
    constraint credit_notices_level_known check (level in ('enough', 'low', 'used_up'))
);

-- One seal closes some entries of an account and every seal before it.
create table credit_seals (
    account_id bigint      not null,
    -- The entries after this one …
    after_seq  bigint      not null,
    -- … up to this one are sealed here.
    up_to_seq  bigint      not null,
    -- Four bytes of each entry's own hash, in order: they tell which entry was altered.
    marks      bytea       not null,
    -- SHA-256 over the hash of the seal before, and the hashes of these entries.
    hash       bytea       not null,
    sealed_at  timestamptz not null,
    primary key (account_id, after_seq),
    constraint credit_seals_entry_fkey foreign key (account_id, up_to_seq) references credit_transactions (account_id, seq),
    constraint credit_seals_order check (0 <= after_seq and after_seq < up_to_seq),
    constraint credit_seals_hash_length check (length(hash) = 32),
    constraint credit_seals_marks_length check (length(marks) = 4 * (up_to_seq - after_seq))
);
create trigger credit_seals_append_only before update or delete on credit_seals
    for each row execute function refuse_rewrite();
create trigger credit_seals_never_truncated before truncate on credit_seals
    for each statement execute function refuse_rewrite();
