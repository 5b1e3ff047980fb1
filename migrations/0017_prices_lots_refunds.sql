-- Prices that are known before they apply, extra credits that expire, and refunds.

-- One change to come, beside the price of now: a debit compares both with the row that it reads anyway.
alter table credit_costs
    -- Credits per unit from next_from on.
    add column next_cost bigint,
    add column next_from timestamptz,
    add constraint credit_costs_next_range check (next_cost between 0 and 1000000),
    add constraint credit_costs_next_whole check ((next_cost is null) = (next_from is null)),
    add constraint credit_costs_next_finite check (isfinite(next_from));

-- Every price that was ever set, and the one to come. What applied to an entry stands in the entry itself.
create table credit_cost_changes (
    operation      text        not null references credit_costs (operation),
    -- The first instant at which it applies.
    effective_from timestamptz not null,
    -- Credits per unit.
    cost           bigint      not null,
    -- Who set it, and when.
    actor          text        not null,
    created_at     timestamptz not null,
    primary key (operation, effective_from),
    constraint credit_cost_changes_range check (cost between 0 and 1000000),
    constraint credit_cost_changes_finite check (isfinite(effective_from)),
    constraint credit_cost_changes_never_in_the_past check (created_at <= effective_from),
    constraint credit_cost_changes_actor_length check (length(actor) <= 64)
);
insert into credit_cost_changes (operation, effective_from, cost, actor, created_at)
select operation, updated_at, cost, 'system', updated_at from credit_costs;

-- Extra credits that expire, and beside them (as lot 0) those that don't. Only accounts that have some of the first have rows.
-- Debits don't touch them: what was spent since the last settlement is the difference between the lots' sum and the pool, and
-- is taken from the lots in the order in which they expire.
create table credit_lots (
    account_id bigint      not null references credit_balances (account_id),
    -- The entry that gave it; 0 for all that never expires.
    lot_seq    bigint      not null,
    -- What was left of it at the last settlement.
    remaining  bigint      not null,
    -- The first instant at which it is gone.
    expires_at timestamptz,
    primary key (account_id, lot_seq),
    constraint credit_lots_seq_range check (lot_seq >= 0),
    constraint credit_lots_remaining_range check (remaining >= 0),
    constraint credit_lots_kept_has_no_end check ((lot_seq = 0) = (expires_at is null)),
    constraint credit_lots_finite check (isfinite(expires_at))
);

-- The earliest end of a lot of the account; null for almost all. From that instant on nothing is spent from this row before
-- the end is written down.
alter table credit_balances add column next_expiry_at timestamptz;
create index credit_balances_expiring on credit_balances (next_expiry_at) where next_expiry_at is not null;

-- The extra pool at an instant at which some of its lots are over and not written down yet: what was spent was spent from
-- them first, so that at most the others are left.
create function credit_extra_at(of_account bigint, extra bigint, instant timestamptz) returns bigint language sql stable strict as $$
    select least(extra, coalesce(sum(remaining), 0)::bigint) from credit_lots
    where account_id = of_account and (expires_at is null or expires_at > instant)
$$;

-- Which deduction a refund gives back.
create table credit_refunds (
    account_id    bigint not null,
    -- The refund's entry.
    refund_seq    bigint not null,
    -- The deduction's entry.
    deduction_seq bigint not null,
    -- Credits given back, of both pools.
    amount        bigint not null,
    primary key (account_id, refund_seq),
    constraint credit_refunds_refund_fkey foreign key (account_id, refund_seq) references credit_transactions (account_id, seq),
    constraint credit_refunds_deduction_fkey foreign key (account_id, deduction_seq) references credit_transactions (account_id, seq),
    constraint credit_refunds_positive check (amount > 0),
    constraint credit_refunds_after_deduction check (deduction_seq < refund_seq)
);
create index credit_refunds_by_deduction on credit_refunds (account_id, deduction_seq);
create trigger credit_refunds_append_only before update or delete on credit_refunds
    for each row execute function refuse_rewrite();
create trigger credit_refunds_never_truncated before truncate on credit_refunds
    for each statement execute function refuse_rewrite();
