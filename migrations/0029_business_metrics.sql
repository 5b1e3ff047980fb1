-- Figures for the owner of the business are asked for by month, over all accounts.

-- Paid time by when it begins: who was paying at the end of a month.
create index subscription_periods_paid_by_start on subscription_periods (starts_at, ends_at) where payment_id is not null;
-- Money by when it was confirmed, and by when it was taken back.
create index payments_by_confirmed on payments (confirmed_at) where confirmed_at is not null;
create index payments_by_reversed on payments (reversed_at) where reversed_at is not null;
-- Signups by month.
create index accounts_by_created on accounts (created_at);
