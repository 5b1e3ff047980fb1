-- Who did what, never changed afterwards; and the first answers to requests that may be sent again.
create table audit_log (
    audit_id       bigint      generated always as identity primary key,
    -- The account it concerns; null where none (a plan was edited).
    account_id     bigint      references accounts (account_id),
    -- 'user:7', 'site:3', 'system', 'cli'.
    actor          text        not null,
    -- Past tense with its room: 'account.registered', 'transfer.confirmed'.
    action         text        not null,
    -- What it was done to: 'account:29', 'plan:starter'.
    target         text        not null,
    before         jsonb       not null default '{}',
    after          jsonb       not null default '{}',
    reason         text,
    request_id     text,
    client_address text,
    at             timestamptz not null,
    constraint audit_log_text_length check (length(actor) <= 64 and length(action) <= 64 and length(target) <= 200 and length(reason) <= 1000 and length(request_id) <= 128 and length(client_address) <= 64)
);
create index audit_log_by_account on audit_log (account_id, audit_id desc);

create table idempotency_keys (
    account_id      bigint      not null references accounts (account_id),
    idempotency_key text        not null,
    -- SHA-256 over caller, route and input: the same key with another hash is a conflict.
    input_hash      bytea       not null,
    -- The first answer, written in the transaction of its effect.
    status          smallint    not null,
    answer          jsonb       not null,
    created_at      timestamptz not null,
    primary key (account_id, idempotency_key),
    constraint idempotency_keys_length check (length(idempotency_key) between 1 and 128 and length(input_hash) = 32)
);
create index idempotency_keys_old on idempotency_keys (created_at);

-- The ledger, the audit log and the period history can't be rewritten, whoever is connected (credits and audit laws).
create function refuse_rewrite() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are only ever added', tg_table_name using errcode = 'integrity_constraint_violation';
end
$$;
create trigger credit_transactions_append_only before update or delete on credit_transactions
    for each row execute function refuse_rewrite();
create trigger credit_transactions_never_truncated before truncate on credit_transactions
    for each statement execute function refuse_rewrite();
create trigger audit_log_append_only before update or delete on audit_log
    for each row execute function refuse_rewrite();
create trigger audit_log_never_truncated before truncate on audit_log
    for each statement execute function refuse_rewrite();
create trigger subscription_periods_never_deleted before delete on subscription_periods
    for each row execute function refuse_rewrite();
create trigger invoices_never_deleted before delete on invoices
    for each row execute function refuse_rewrite();
create trigger payments_never_deleted before delete on payments
    for each row execute function refuse_rewrite();
