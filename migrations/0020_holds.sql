-- Holds: credits reserved before the work, paid or let go after it. And operations that cost nothing.

-- A free operation is an entry too, of 0 credits: the price list allows a cost of 0.
alter table credit_transactions
    drop constraint credit_transactions_signs,
    add constraint credit_transactions_signs check (
        case kind
            when 'deduction' then plan_amount <= 0 and extra_amount <= 0
            when 'expiry' then plan_amount <= 0 and extra_amount <= 0 and plan_amount + extra_amount < 0
            when 'subscription' then plan_amount > 0 and extra_amount = 0
            when 'purchase' then extra_amount > 0 and plan_amount = 0
            when 'refund' then plan_amount >= 0 and extra_amount >= 0
            else true
        end
    );

create table credit_holds (
    account_id        bigint      not null references credit_balances (account_id),
    -- 1, 2, 3 … within the account: the hold's id in JSON.
    hold_seq          bigint      not null,
    -- An open one reserves its amount, until it is settled or expires; nothing else does. All others are over for good.
    status            text        not null,
    -- Credits reserved: what the whole quantity costs at unit_cost.
    amount            bigint      not null,
    -- What is to be done, how many of it at the most, and the price of one when the hold was placed, which a capture pays.
    operation         text        not null,
    quantity          bigint      not null,
    unit_cost         bigint      not null,
    description       text        not null,
    metadata          jsonb       not null,
    -- The client's own word for it; searched by nobody but him.
    reference         text,
    -- 'user:7', 'site:3': a site settles only what it placed itself.
    actor             text        not null,
    created_at        timestamptz not null,
    -- The first instant at which it reserves nothing any more, whether or not that is written down.
    expires_at        timestamptz not null,
    -- When it was captured, released or displaced, or expired: then its expires_at.
    settled_at        timestamptz,
    -- How many were done and paid, and the entry that paid; null unless captured.
    captured_quantity bigint,
    captured_seq      bigint,
    primary key (account_id, hold_seq),
    constraint credit_holds_captured_fkey foreign key (account_id, captured_seq) references credit_transactions (account_id, seq),
    constraint credit_holds_seq_range check (hold_seq >= 1),
    constraint credit_holds_status_known check (status in ('open', 'captured', 'released', 'expired', 'displaced')),
    constraint credit_holds_amount_range check (amount between 0 and 1000000000000),
    constraint credit_holds_quantity_range check (quantity >= 1 and captured_quantity between 1 and quantity),
    constraint credit_holds_cost_range check (unit_cost >= 0),
    constraint credit_holds_times check (isfinite(created_at) and isfinite(expires_at) and isfinite(settled_at) and created_at < expires_at),
    constraint credit_holds_settled_or_open check ((status = 'open') = (settled_at is null)),
    constraint credit_holds_captured_is_whole check (
        (status = 'captured') = (captured_quantity is not null) and (status = 'captured') = (captured_seq is not null)
    ),
    constraint credit_holds_text_length check (length(description) <= 500 and length(reference) <= 128 and length(actor) <= 64),
    constraint credit_holds_metadata_small check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 8192)
);
-- What is reserved now, by account; at most 1,000 of each.
create index credit_holds_open on credit_holds (account_id, hold_seq) where status = 'open';
-- Which ones are over and not written down yet.
create index credit_holds_expiring on credit_holds (expires_at) where status = 'open';

alter table credit_balances
    -- The sum of the account's open holds, counted anew after each change of them. I3 holds it at most as high as both pools.
    add column held                bigint not null default 0,
    -- The earliest end of an open hold; null for almost all. From that instant on nothing is spent from this row before the end
    -- is written down.
    add column next_hold_expiry_at timestamptz,
    add constraint credit_balances_held_not_negative check (held >= 0);

-- What is held at an instant at which some holds are over and not written down yet.
create function credit_held_at(of_account bigint, instant timestamptz) returns bigint language sql stable strict as $$
    select coalesce(sum(amount), 0)::bigint from credit_holds
    where account_id = of_account and status = 'open' and expires_at > instant
$$;
