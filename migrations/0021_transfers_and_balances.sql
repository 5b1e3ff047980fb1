-- Transfers that customers report, money that adds up over several transfers, and what is taken back.

-- A report is a claim: it blocks nobody else's. Money that was seen counts once, whoever claims it.
alter table payments drop constraint payments_external_key;
create unique index payments_external_key on payments (payment_method, external_payment_id) where status in ('confirmed', 'reversed');
create unique index payments_pending_key on payments (account_id, payment_method, external_payment_id) where status = 'pending_approval';

alter table payments
    -- When an admin said that the money did not come, who, and why.
    add column rejected_at      timestamptz,
    add column rejected_by      bigint,
    add column rejection_reason text,
    -- When a confirmed transfer was taken back, who, and why.
    add column reversed_at      timestamptz,
    add column reversed_by      bigint,
    add column reversal_reason  text,
    -- The first reversal's answer, given again to each repetition.
    add column reversal_result  jsonb,
    add constraint payments_rejected_whole check ((status = 'rejected') = (rejected_at is not null and rejection_reason is not null)),
    add constraint payments_reversed_whole check ((status = 'reversed') = (reversed_at is not null and reversal_reason is not null)),
    add constraint payments_reason_length check (length(rejection_reason) <= 1000 and length(reversal_reason) <= 1000);

alter table subscription_periods
    -- When the transfer that bought it was taken back; what was left of it ended then.
    add column reversed_at timestamptz,
    add constraint subscription_periods_reversed_if_paid check (reversed_at is null or payment_id is not null);

-- Money that came and is not yet, or never was, asked for: one narrow balance row per account …
create table account_money (
    account_id bigint         primary key references accounts (account_id),
    -- In the currency of invoices.
    balance    numeric(12, 2) not null,
    -- Sequence number of the account's newest entry.
    last_seq   bigint         not null,
    constraint account_money_not_negative check (balance >= 0),
    constraint account_money_seq_range check (last_seq >= 0)
);

-- … and the ledger that explains it. Rows are only ever added.
create table account_money_entries (
    account_id    bigint         not null references accounts (account_id),
    -- 1, 2, 3 … within the account, without a gap.
    seq           bigint         not null,
    -- 'payment': a transfer came (or, negative, was taken back). 'settlement': an invoice took it (or, positive, gave it back).
    -- 'waiver': an admin let what was missing go (or, negative, that was undone).
    kind          text           not null,
    -- Signed.
    amount        numeric(12, 2) not null,
    balance_after numeric(12, 2) not null,
    -- Of payments.
    payment_id    bigint,
    -- Of settlements and waivers.
    invoice_id    bigint,
    created_at    timestamptz    not null,
    primary key (account_id, seq),
    constraint account_money_entries_payment_fkey foreign key (account_id, payment_id) references payments (account_id, payment_id),
    constraint account_money_entries_invoice_fkey foreign key (account_id, invoice_id) references invoices (account_id, invoice_id),
    constraint account_money_entries_seq_range check (seq >= 1),
    constraint account_money_entries_kind_known check (kind in ('payment', 'settlement', 'waiver')),
    constraint account_money_entries_amount_moves check (amount <> 0),
    constraint account_money_entries_after_not_negative check (balance_after >= 0),
    constraint account_money_entries_source check ((kind = 'payment') = (payment_id is not null) and (kind <> 'payment') = (invoice_id is not null))
);
create index account_money_entries_by_payment on account_money_entries (account_id, payment_id) where payment_id is not null;
create index account_money_entries_by_invoice on account_money_entries (account_id, invoice_id) where invoice_id is not null;
create trigger account_money_entries_append_only before update or delete on account_money_entries
    for each row execute function refuse_rewrite();
create trigger account_money_entries_never_truncated before truncate on account_money_entries
    for each statement execute function refuse_rewrite();

-- What was confirmed before this ledger was: each transfer came, what it lacked was let go, and its invoice took what it asks for.
insert into account_money_entries (account_id, seq, kind, amount, balance_after, payment_id, invoice_id, created_at)
select account_id, row_number() over ledger, kind, amount, sum(amount) over ledger, payment_id, invoice_id, confirmed_at
from (
    select y.account_id, y.payment_id as source, 1 as step, 'payment' as kind, y.amount, y.payment_id, null::bigint as invoice_id, y.confirmed_at
    from payments y where y.status = 'confirmed' and y.invoice_id is not null
    union all
    select y.account_id, y.payment_id, 2, 'waiver', i.amount - y.amount, null, i.invoice_id, y.confirmed_at
    from payments y join invoices i on i.account_id = y.account_id and i.invoice_id = y.invoice_id
    where y.status = 'confirmed' and i.amount > y.amount
    union all
    select y.account_id, y.payment_id, 3, 'settlement', -i.amount, null, i.invoice_id, y.confirmed_at
    from payments y join invoices i on i.account_id = y.account_id and i.invoice_id = y.invoice_id
    where y.status = 'confirmed'
) moves
window ledger as (partition by account_id order by source, step);
insert into account_money (account_id, balance, last_seq)
select account_id, sum(amount), max(seq) from account_money_entries group by account_id;
