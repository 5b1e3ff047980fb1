-- What an account was told of the end of a period: each of it once, however many instances look.
create table renewal_reminders (
    account_id     bigint      not null references accounts (account_id),
    -- The end that it is about.
    period_ends_at timestamptz not null,
    -- 'soon' three days before, 'last_day' a day before, 'overdue' a day after, 'ended' when trial or grace were over.
    moment         text        not null,
    -- When the mail was written.
    written_at     timestamptz not null,
    primary key (account_id, period_ends_at, moment),
    constraint renewal_reminders_moment_known check (moment in ('soon', 'last_day', 'overdue', 'ended')),
    constraint renewal_reminders_finite check (isfinite(period_ends_at))
);
