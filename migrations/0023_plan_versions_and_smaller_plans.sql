-- A plan's terms are never edited under a customer: an edit writes a new version, and who has an older one keeps it. And the
-- smaller plan that an account goes on with when its period ends.

alter table plans
    -- 1, 2, 3 … within the plan. Each version is a row of its own, so that whoever refers to a plan refers to its exact terms.
    add column version       integer not null default 1,
    -- The plan's first version, whose number clients know the plan by; null: this is it.
    add column version_of    bigint  references plans (plan_id),
    -- When a newer version took its place: it is no longer offered, and keeps its customers. Null: the one on offer.
    add column superseded_at timestamptz,
    drop constraint plans_slug_key,
    add constraint plans_version_range check (version >= 1),
    add constraint plans_version_of_first check ((version = 1) = (version_of is null));
-- Of each word one version is on offer.
create unique index plans_slug_key on plans (slug) where superseded_at is null;
create unique index plans_version_key on plans (slug, version);

alter table subscriptions
    -- The smaller plan that was asked for. From next_plan_at on it is the account's plan, whether or not anybody has recorded it.
    add column next_plan_id bigint references plans (plan_id),
    -- The end of what was paid for when it was asked for.
    add column next_plan_at timestamptz,
    add constraint subscriptions_next_plan_whole check ((next_plan_id is null) = (next_plan_at is null)),
    add constraint subscriptions_next_plan_finite check (isfinite(next_plan_at));
-- The scheduler asks whose smaller plan has begun.
create index subscriptions_next_plan_due on subscriptions (next_plan_at) where next_plan_at is not null;
