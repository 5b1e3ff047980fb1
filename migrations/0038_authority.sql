-- Who may spend has a version. Whoever was let in at one may spend while it stands, and the statement that spends compares nothing else:
-- the version stands in the row that it changes anyway. Counted by the database itself, so that no way of changing a session, a user,
-- an account or a key can forget it.
alter table credit_balances
    -- Counts on whenever something changes that decides who may spend from the account: its status, period, plan and limit, its users and
    -- their sessions, its sites and their keys.
    add column authority bigint not null default 0;

-- What decides about every account's spends: plans and prices. One row.
create table spending_rules (
    only_row boolean primary key default true,
    -- Counts on whenever a plan or a price changes.
    version  bigint not null,
    constraint spending_rules_only_row check (only_row)
);
insert into spending_rules (version) values (0);

create function renew_authority() returns trigger language plpgsql as $$
begin
    update credit_balances set authority = authority + 1
    where account_id in (case when tg_op <> 'INSERT' then old.account_id end, case when tg_op <> 'DELETE' then new.account_id end);
    return null;
end
$$;

create function renew_authority_of_user() returns trigger language plpgsql as $$
begin
    update credit_balances set authority = authority + 1 where account_id = (select account_id from users where user_id = old.user_id);
    return null;
end
$$;

create function renew_spending_rules() returns trigger language plpgsql as $$
begin
    update spending_rules set version = version + 1;
    return null;
end
$$;

create trigger accounts_renew_authority
    after update of status, deleted_at, plan_id, is_system, throttle_factor, throttle_factor_until on accounts
    for each row when (
        (old.status, old.deleted_at, old.plan_id, old.is_system, old.throttle_factor, old.throttle_factor_until)
            is distinct from (new.status, new.deleted_at, new.plan_id, new.is_system, new.throttle_factor, new.throttle_factor_until)
    ) execute function renew_authority();

create trigger users_renew_authority after insert or delete on users for each row execute function renew_authority();
create trigger users_change_renews_authority after update of account_id, role, is_active, deleted_at on users
    for each row when (
        (old.account_id, old.role, old.is_active, old.deleted_at) is distinct from (new.account_id, new.role, new.is_active, new.deleted_at)
    ) execute function renew_authority();

-- A session that begins, or lasts longer, takes nothing from anybody.
create trigger sessions_renew_authority after delete on sessions for each row execute function renew_authority_of_user();
create trigger sessions_change_renews_authority after update of user_id, revoked_at, expires_at on sessions
    for each row when (
        old.user_id <> new.user_id or old.revoked_at is distinct from new.revoked_at or new.expires_at < old.expires_at
    ) execute function renew_authority_of_user();

create trigger subscriptions_renew_authority after insert or delete on subscriptions for each row execute function renew_authority();
create trigger subscriptions_change_renews_authority
    after update of account_id, status, current_period_end, cancel_at_period_end, next_plan_id, next_plan_at on subscriptions
    for each row when (
        (old.account_id, old.status, old.current_period_end, old.cancel_at_period_end, old.next_plan_id, old.next_plan_at)
            is distinct from (new.account_id, new.status, new.current_period_end, new.cancel_at_period_end, new.next_plan_id, new.next_plan_at)
    ) execute function renew_authority();

create trigger sites_renew_authority after insert or delete on sites for each row execute function renew_authority();
create trigger sites_change_renews_authority after update of account_id, is_active, deleted_at, url on sites
    for each row when (
        (old.account_id, old.is_active, old.deleted_at, old.url) is distinct from (new.account_id, new.is_active, new.deleted_at, new.url)
    ) execute function renew_authority();

-- last_used_at is no reason: it is noted once a minute.
create trigger site_keys_renew_authority after delete on site_keys for each row execute function renew_authority();
create trigger site_keys_change_renews_authority after update of account_id, site_id, key_sha256, revoked_at, expires_at, scopes on site_keys
    for each row when (
        (old.account_id, old.site_id, old.key_sha256, old.revoked_at, old.expires_at, old.scopes)
            is distinct from (new.account_id, new.site_id, new.key_sha256, new.revoked_at, new.expires_at, new.scopes)
    ) execute function renew_authority();

create trigger plans_renew_spending_rules after insert or update or delete on plans for each statement execute function renew_spending_rules();
create trigger credit_costs_renew_spending_rules after insert or update or delete on credit_costs
    for each statement execute function renew_spending_rules();
