-- The version of an account's authority counts whatever its people and sites are shown of themselves, too: whoever was read at one
-- version is the same, to the letter, while it stands, so that a request need not read him again.
drop trigger accounts_renew_authority on accounts;
create trigger accounts_renew_authority
    after update of name, slug, status, plan_id, payment_method, is_system, deleted_at, throttle_factor, throttle_factor_until on accounts
    for each row when (
        (old.name, old.slug, old.status, old.plan_id, old.payment_method, old.is_system, old.deleted_at, old.throttle_factor, old.throttle_factor_until)
            is distinct from (new.name, new.slug, new.status, new.plan_id, new.payment_method, new.is_system, new.deleted_at, new.throttle_factor, new.throttle_factor_until)
    ) execute function renew_authority();

drop trigger users_change_renews_authority on users;
create trigger users_change_renews_authority
    after update of account_id, email, username, first_name, last_name, role, is_superuser, email_verified_at, is_active, deleted_at on users
    for each row when (
        (old.account_id, old.email, old.username, old.first_name, old.last_name, old.role, old.is_superuser, old.email_verified_at, old.is_active, old.deleted_at)
            is distinct from (new.account_id, new.email, new.username, new.first_name, new.last_name, new.role, new.is_superuser, new.email_verified_at, new.is_active, new.deleted_at)
    ) execute function renew_authority();

drop trigger subscriptions_change_renews_authority on subscriptions;
create trigger subscriptions_change_renews_authority
    after update of account_id, subscription_id, status, payment_method, external_payment_id, current_period_start, current_period_end, cancel_at_period_end,
        next_plan_id, next_plan_at on subscriptions
    for each row when (
        (old.account_id, old.subscription_id, old.status, old.payment_method, old.external_payment_id, old.current_period_start, old.current_period_end,
            old.cancel_at_period_end, old.next_plan_id, old.next_plan_at)
            is distinct from (new.account_id, new.subscription_id, new.status, new.payment_method, new.external_payment_id, new.current_period_start,
            new.current_period_end, new.cancel_at_period_end, new.next_plan_id, new.next_plan_at)
    ) execute function renew_authority();

drop trigger sites_change_renews_authority on sites;
create trigger sites_change_renews_authority after update of account_id, name, slug, url, is_active, deleted_at on sites
    for each row when (
        (old.account_id, old.name, old.slug, old.url, old.is_active, old.deleted_at)
            is distinct from (new.account_id, new.name, new.slug, new.url, new.is_active, new.deleted_at)
    ) execute function renew_authority();
