-- Credits: one narrow balance row per account, and the ledger that explains it. Rows are only ever added.
create table credit_balances (
    account_id    bigint  primary key references accounts (account_id),
    -- Reset every period; spent first.
    plan_credits  bigint  not null,
    -- Bought or granted; kept.
    extra_credits bigint  not null,
    -- Sequence number of the account's newest ledger row.
    last_seq      bigint  not null,
    constraint credit_balances_not_negative check (plan_credits >= 0 and extra_credits >= 0),
    constraint credit_balances_range check (plan_credits + extra_credits <= 1000000000000),
    constraint credit_balances_seq_range check (last_seq >= 0)
) with (fillfactor = 50); -- Updates stay on their page (HOT).

create table credit_transactions (
    account_id      bigint      not null references accounts (account_id),
    -- 1, 2, 3 … within the account, without a gap: the transaction's id in JSON.
    seq             bigint      not null,
    kind            text        not null,
    -- Signed change of each pool; their sum is the transaction's amount.
    plan_amount     bigint      not null,
    extra_amount    bigint      not null,
    amount          bigint      not null generated always as (plan_amount + extra_amount) stored,
    -- Each pool after this row.
    plan_after      bigint      not null,
    extra_after     bigint      not null,
    balance_after   bigint      not null generated always as (plan_after + extra_after) stored,
    -- What was done with AI, how many of it, and the price of one that applied; null unless a deduction.
    operation       text,
    quantity        bigint,
    unit_cost       bigint,
    description     text        not null,
    metadata        jsonb       not null default '{}',
    -- The client's own word for it; searched by nobody but him.
    reference       text,
    -- The period whose grant or expiry this is (I5, I7).
    period_seq      integer,
    -- 'user:7', 'site:3', 'system'.
    actor           text        not null,
    -- Replays are recognised by the key and answered from this row; the hash tells whether the input was the same.
    idempotency_key text,
    input_hash      bytea,
    created_at      timestamptz not null,
    primary key (account_id, seq),
    constraint credit_transactions_period_fkey foreign key (account_id, period_seq) references subscription_periods (account_id, period_seq),
    constraint credit_transactions_seq_range check (seq >= 1),
    constraint credit_transactions_kind_known check (kind in ('subscription', 'purchase', 'deduction', 'refund', 'adjustment', 'expiry')),
    constraint credit_transactions_after_not_negative check (plan_after >= 0 and extra_after >= 0),
    constraint credit_transactions_signs check (
        case kind
            when 'deduction' then plan_amount <= 0 and extra_amount <= 0 and plan_amount + extra_amount < 0
            when 'expiry' then plan_amount <= 0 and extra_amount <= 0 and plan_amount + extra_amount < 0
            when 'subscription' then plan_amount > 0 and extra_amount = 0
            when 'purchase' then extra_amount > 0 and plan_amount = 0
            when 'refund' then plan_amount >= 0 and extra_amount >= 0
            else true
        end
    ),
    constraint credit_transactions_operation_if_deducted check ((kind = 'deduction') = (operation is not null and quantity is not null and unit_cost is not null)),
    constraint credit_transactions_grant_has_source check (kind <> 'subscription' or period_seq is not null),
    constraint credit_transactions_text_length check (length(description) <= 500 and length(reference) <= 128 and length(idempotency_key) between 1 and 128 and length(actor) <= 64),
    constraint credit_transactions_metadata_small check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 8192),
    constraint credit_transactions_key_with_hash check ((idempotency_key is null) = (input_hash is null))
);
-- I4: one row per (account, key).
create unique index credit_transactions_idempotency_key on credit_transactions (account_id, idempotency_key) where idempotency_key is not null;
-- I5: one grant per (account, period).
create unique index credit_transactions_grant_key on credit_transactions (account_id, period_seq) where kind = 'subscription';

create table credit_costs (
    operation  text        primary key,
    -- Credits per unit of the operation.
    cost       bigint      not null,
    updated_at timestamptz not null,
    constraint credit_costs_operation_known check (operation in ('clustering', 'idea_generation', 'content_generation', 'image_generation', 'image_prompt_extraction')),
    constraint credit_costs_range check (cost between 0 and 1000000)
);
