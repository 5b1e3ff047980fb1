//! The one joined query that authorises requests: all those that wait for it. Only the gate may join across rooms.

use super::{
    columns::{AccountColumns, KnownAt, account_columns},
    model::{Found, KeyRecord, Person, PersonAsked, SiteAsked, SiteCaller, User},
    rules,
};
use crate::{
    accounts::{model::AccountStatus, people},
    auth::model::Role,
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::{AccountId, PaymentMethod, PlanId, SiteId, SiteKeyId, SubscriptionId, UserId},
    period::BillingCycle,
    plans::model::Assignment,
    sites::{self, keys::model::KeyScope},
    subscriptions::model::SubscriptionStatus,
};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::sync::Arc;

/// The persons behind sessions, each as he stands when he is asked for; nobody when session, user or account is over. A developer
/// who named a living account stands in that one; where he named another he stands in none. Of who is known nothing is read but
/// whether the version of his account's authority is the same, and its credits.
pub async fn list_persons(
    connection: &mut PgConnection,
    asked: &[PersonAsked],
    grace: TimeDelta,
) -> Result<Vec<Found<Person, Person>>, StoreError> {
    let sessions = asked.iter().map(|asked| asked.ticket.session.0).collect::<Vec<_>>();
    let users = asked.iter().map(|asked| asked.ticket.user.0).collect::<Vec<_>>();
    let named = asked.iter().map(|asked| asked.ticket.named.map(|account| account.0)).collect::<Vec<_>>();
    let nows = asked.iter().map(|asked| asked.now).collect::<Vec<_>>();
    let known = asked.iter().map(|asked| asked.known.as_ref()?.user.account.as_ref()).collect::<KnownAt>();
    let mut rows = sqlx::query!(
        r#"
        select asked.place as "place!", known.account_id is not null as "is_known!",
               u.user_id as "user_id?: UserId", u.email as "email?", u.username as "username?", u.first_name as "first_name?", u.last_name as "last_name?",
               u.role as "role?: Role", u.is_superuser as "is_superuser?", u.account_id as "home?: AccountId",
               u.email_verified_at is not null as "email_verified!", u.session_expires_at as "session_expires_at?",
               u.must_enroll as "must_enroll?",
               -- Counted only for those who could be beyond the seats.
               case when u.user_id is null or u.role in ('owner', 'developer') or p.max_users > $8 then 0
                    else seniors_of(u.account_id, u.user_id, p.max_users) end as "seniors?",
               a.account_id as "account_id?: AccountId", a.name as "account_name?", a.slug as "account_slug?",
               a.status as "account_status?: AccountStatus", a.payment_method as "account_payment_method?: PaymentMethod", a.is_system as "is_system?",
               b.plan_credits as "pool_plan?", b.last_seq as "pool_seq?", b.authority as "authority?", rules.version as "rules_version!",
               case when b.next_expiry_at <= asked.now then credit_extra_at(b.account_id, b.extra_credits, asked.now) else b.extra_credits end as "pool_extra?",
               case when b.next_hold_expiry_at <= asked.now then credit_held_at(b.account_id, asked.now) else b.held end as "pool_held?",
               coalesce(p.version_of, p.plan_id) as "plan_number?: PlanId", p.plan_id as "plan_id?: PlanId", p.slug as "plan_slug?", p.name as "plan_name?", p.price as "plan_price?",
               p.billing_cycle as "plan_billing_cycle?: BillingCycle", p.effective_credits as "plan_credits?", p.max_sites as "plan_max_sites?",
               p.max_users as "plan_max_users?", p.max_sectors as "plan_max_sectors?", p.features as "plan_features?",
               p.is_active as "plan_is_active?", p.assignment as "plan_assignment?: Assignment", p.throttle_factor as "plan_throttle_factor?",
               coalesce(case when a.throttle_factor_until is null or a.throttle_factor_until > asked.now then a.throttle_factor end, p.throttle_factor) as "throttle_factor?",
               s.subscription_id as "subscription_id?: SubscriptionId", s.status as "subscription_status?: SubscriptionStatus",
               s.payment_method as "subscription_payment_method?: PaymentMethod", s.external_payment_id as "subscription_external_payment_id?",
               s.current_period_start as "subscription_start?", s.current_period_end as "subscription_end?",
               s.cancel_at_period_end as "subscription_cancels?", s.next_plan_at as "next_plan_at?", a.throttle_factor_until as "throttle_factor_until?"
        from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[])
             with ordinality as asked (session_id, user_id, named, now, account_id, authority, rules_version, place)
        join spending_rules rules on rules.only_row
        left join credit_balances known on known.account_id = asked.account_id and known.authority = asked.authority
                                       and rules.version = asked.rules_version
        left join lateral (
            select u.*, sessions.expires_at as session_expires_at, a.account_id as acts_in,
                   u.role = 'developer' and not exists (select from second_factors f where f.user_id = u.user_id and f.activated_at is not null) as must_enroll
            from sessions
            join users u on u.user_id = sessions.user_id
            left join accounts a on a.account_id = case when u.role = 'developer' then coalesce(asked.named, u.account_id) else u.account_id end
                                and (asked.named is null or a.deleted_at is null)
            where known.account_id is null
              and sessions.session_id = asked.session_id and sessions.user_id = asked.user_id
              and sessions.revoked_at is null and sessions.expires_at > asked.now
              and u.is_active and u.deleted_at is null and a.deleted_at is null
        ) u on true
        left join accounts a on a.account_id = u.acts_in
        left join credit_balances b on b.account_id = coalesce(known.account_id, a.account_id)
        left join subscriptions s on s.account_id = a.account_id
        left join plans p on p.plan_id = case when s.next_plan_at <= asked.now then s.next_plan_id else a.plan_id end
        "#,
        &sessions,
        &users,
        named.as_slice() as _,
        &nows,
        known.accounts.as_slice() as _,
        known.authorities.as_slice() as _,
        known.rules.as_slice() as _,
        people::rules::SEATS_COUNTED_MAX,
    )
    .fetch_all(connection)
    .await?;
    rows.sort_by_key(|row| row.place);
    let found = rows.into_iter().zip(asked).map(|(row, PersonAsked { ticket, known, now })| {
        let is_known = row.is_known;
        let ends = [row.session_expires_at, row.next_plan_at, row.throttle_factor_until];
        let steady_until = rules::steady_until(ends, row.subscription_end, grace, *now);
        let is_system_account = row.is_system.unwrap_or(false);
        let columns = account_columns!(row);
        if let (true, Some(known), Some(pools)) = (is_known, known, columns.pools()) {
            return Found::AsKnown(Arc::clone(known), pools);
        }
        let person = || {
            let account = columns.account(grace, *now);
            let plan = account.as_ref().and_then(|account| account.plan.as_ref());
            let role = row.role?;
            // Whom no plan admits anyway need not be frozen besides.
            let is_frozen = plan.is_some_and(|plan| people::rules::is_frozen(role, Some(plan.max_users), row.seniors.unwrap_or(0)));
            Some(Person {
                session: ticket.session,
                user: User {
                    id: row.user_id?,
                    email: row.email?,
                    username: row.username?,
                    first_name: row.first_name?,
                    last_name: row.last_name?,
                    role,
                    is_superuser: row.is_superuser?,
                    email_verified: row.email_verified,
                    is_frozen,
                    account,
                },
                is_system_account,
                home: row.home,
                must_enroll: row.must_enroll?,
                steady_until,
            })
        };
        Found::Anew(person())
    });
    Ok(found.collect())
}

/// The sites behind keys' hashes, each with its account as it stands when it is asked for, and whether a clone of it at that place
/// is known; also when the key opens nothing any more, which is for the rules to say. Of who is known as little as of a person.
pub async fn list_sites_of_keys(
    connection: &mut PgConnection,
    asked: &[SiteAsked],
    grace: TimeDelta,
) -> Result<Vec<Found<SiteCaller, KeyRecord>>, StoreError> {
    let hashes = asked.iter().map(|asked| asked.key_sha256.as_slice()).collect::<Vec<_>>();
    let places = asked.iter().map(|asked| asked.place.as_deref()).collect::<Vec<_>>();
    let nows = asked.iter().map(|asked| asked.now).collect::<Vec<_>>();
    let known = asked.iter().map(|asked| Some(&asked.known.as_ref()?.account)).collect::<KnownAt>();
    let mut rows = sqlx::query!(
        r#"
        select asked.place as "place!", known.account_id is not null as "is_known!",
               k.site_key_id as "key?: SiteKeyId", k.revoked_at as "revoked_at?", k.expires_at as "expires_at?", k.last_used_at as "last_used_at?",
               k.scopes as "scopes?: Vec<KeyScope>",
               k.clone_is_known as "clone_is_known?", k.older_sites as "older_sites?",
               k.site_id as "site?: SiteId", k.name as "site_name?", k.slug as "site_slug?", k.url as "site_url?", k.is_active as "site_is_active?",
               k.deleted_at is not null as "site_is_deleted!", a.deleted_at is not null as "account_is_deleted!",
               a.account_id as "account_id?: AccountId", a.name as "account_name?", a.slug as "account_slug?",
               a.status as "account_status?: AccountStatus", a.payment_method as "account_payment_method?: PaymentMethod", a.is_system as "is_system?",
               b.plan_credits as "pool_plan?", b.last_seq as "pool_seq?", b.authority as "authority?", rules.version as "rules_version!",
               case when b.next_expiry_at <= asked.now then credit_extra_at(b.account_id, b.extra_credits, asked.now) else b.extra_credits end as "pool_extra?",
               case when b.next_hold_expiry_at <= asked.now then credit_held_at(b.account_id, asked.now) else b.held end as "pool_held?",
               coalesce(p.version_of, p.plan_id) as "plan_number?: PlanId", p.plan_id as "plan_id?: PlanId", p.slug as "plan_slug?", p.name as "plan_name?", p.price as "plan_price?",
               p.billing_cycle as "plan_billing_cycle?: BillingCycle", p.effective_credits as "plan_credits?", p.max_sites as "plan_max_sites?",
               p.max_users as "plan_max_users?", p.max_sectors as "plan_max_sectors?", p.features as "plan_features?",
               p.is_active as "plan_is_active?", p.assignment as "plan_assignment?: Assignment", p.throttle_factor as "plan_throttle_factor?",
               coalesce(case when a.throttle_factor_until is null or a.throttle_factor_until > asked.now then a.throttle_factor end, p.throttle_factor) as "throttle_factor?",
               s.subscription_id as "subscription_id?: SubscriptionId", s.status as "subscription_status?: SubscriptionStatus",
               s.payment_method as "subscription_payment_method?: PaymentMethod", s.external_payment_id as "subscription_external_payment_id?",
               s.current_period_start as "subscription_start?", s.current_period_end as "subscription_end?",
               s.cancel_at_period_end as "subscription_cancels?", s.next_plan_at as "next_plan_at?", a.throttle_factor_until as "throttle_factor_until?"
        from unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[])
             with ordinality as asked (key_sha256, told, now, account_id, authority, rules_version, place)
        join spending_rules rules on rules.only_row
        left join credit_balances known on known.account_id = asked.account_id and known.authority = asked.authority
                                       and rules.version = asked.rules_version
        left join lateral (
            select k.site_key_id, k.revoked_at, k.expires_at, k.last_used_at, k.scopes, sites.*,
                   exists (select 1 from site_clones c where c.account_id = k.account_id and c.site_id = k.site_id and c.place = asked.told) as clone_is_known,
                   (select count(*) from sites older where older.account_id = k.account_id and older.deleted_at is null and older.site_id < k.site_id) as older_sites
            from site_keys k
            join sites on sites.account_id = k.account_id and sites.site_id = k.site_id
            where known.account_id is null and k.key_sha256 = asked.key_sha256
        ) k on true
        left join accounts a on a.account_id = k.account_id
        left join credit_balances b on b.account_id = coalesce(known.account_id, a.account_id)
        left join subscriptions s on s.account_id = a.account_id
        left join plans p on p.plan_id = case when s.next_plan_at <= asked.now then s.next_plan_id else a.plan_id end
        "#,
        hashes.as_slice() as _,
        places.as_slice() as _,
        &nows,
        known.accounts.as_slice() as _,
        known.authorities.as_slice() as _,
        known.rules.as_slice() as _,
    )
    .fetch_all(connection)
    .await?;
    rows.sort_by_key(|row| row.place);
    let found = rows.into_iter().zip(asked).map(|(row, SiteAsked { known, now, .. })| {
        let is_known = row.is_known;
        let ends = [row.expires_at, row.next_plan_at, row.throttle_factor_until];
        let steady_until = rules::steady_until(ends, row.subscription_end, grace, *now);
        let columns = account_columns!(row);
        if let (true, Some(known), Some(pools)) = (is_known, known, columns.pools()) {
            return Found::AsKnown(Arc::clone(known), pools);
        }
        let record = || {
            let account = columns.account(grace, *now)?;
            let max_sites = account.plan.as_ref().map(|plan| plan.max_sites);
            Some(KeyRecord {
                caller: SiteCaller {
                    key: row.key?,
                    site: row.site?,
                    site_name: row.site_name?,
                    site_slug: row.site_slug?,
                    site_url: row.site_url,
                    site_is_active: row.site_is_active?,
                    site_is_frozen: sites::rules::is_frozen(max_sites, row.older_sites?),
                    scopes: row.scopes?,
                    other_home: None,
                    steady_until,
                    account,
                },
                revoked_at: row.revoked_at,
                expires_at: row.expires_at,
                last_used_at: row.last_used_at,
                clone_is_known: row.clone_is_known?,
                site_is_deleted: row.site_is_deleted,
                account_is_deleted: row.account_is_deleted,
            })
        };
        Found::Anew(record())
    });
    Ok(found.collect())
}

/// Notes that a key was used at `now`, unless a use after `noted_before` is noted already. Of many at once one writes, and
/// the others don't wait for it.
pub async fn mark_key_used(
    pool: &Pool,
    account: AccountId,
    key: SiteKeyId,
    noted_before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update site_keys set last_used_at = $4
        where (account_id, site_key_id) in (
            select account_id, site_key_id from site_keys
            where account_id = $1 and site_key_id = $2 and (last_used_at is null or last_used_at <= $3)
            for no key update skip locked)
        "#,
        account.0,
        key.0,
        noted_before,
        now,
    )
    .execute(pool)
    .await?;
    Ok(())
}
