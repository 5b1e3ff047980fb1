//! The one joined query that authorises a request. Only the gate may join across rooms.

use super::{
    model::{KeyRecord, Person, SiteCaller, Standing, Ticket, User},
    rules,
};
use crate::{
    accounts::{
        model::{Account, AccountStatus},
        people,
        rules::{Tenancy, standing},
    },
    auth::model::Role,
    clock::Timestamp,
    credits::model::{Authority, Pools},
    db::{Pool, StoreError},
    ids::{AccountId, PaymentMethod, PlanId, SiteId, SiteKeyId, SubscriptionId, UserId},
    money::{Credits, Money},
    period::BillingCycle,
    plans::model::{Assignment, Plan},
    sites::{self, keys::model::KeyScope},
    subscriptions::model::{Subscription, SubscriptionStatus},
    traces::Step,
};
use chrono::TimeDelta;
use rust_decimal::Decimal;
use sqlx::PgExecutor;
use std::collections::HashMap;

/// What the joined query gives of an account; every column may be missing where the account is.
struct AccountColumns {
    account_id: Option<AccountId>,
    account_name: Option<String>,
    account_slug: Option<String>,
    account_status: Option<AccountStatus>,
    account_payment_method: Option<PaymentMethod>,
    is_system: Option<bool>,
    pool_plan: Option<i64>,
    pool_extra: Option<i64>,
    pool_held: Option<i64>,
    pool_seq: Option<i64>,
    authority: Option<i64>,
    rules_version: i64,
    plan_number: Option<PlanId>,
    plan_id: Option<PlanId>,
    plan_slug: Option<String>,
    plan_name: Option<String>,
    plan_price: Option<Decimal>,
    plan_billing_cycle: Option<BillingCycle>,
    plan_credits: Option<i64>,
    plan_max_sites: Option<i32>,
    plan_max_users: Option<i32>,
    plan_max_sectors: Option<i32>,
    plan_features: Option<Vec<String>>,
    plan_is_active: Option<bool>,
    plan_assignment: Option<Assignment>,
    plan_throttle_factor: Option<i32>,
    throttle_factor: Option<i32>,
    subscription_id: Option<SubscriptionId>,
    subscription_status: Option<SubscriptionStatus>,
    subscription_payment_method: Option<PaymentMethod>,
    subscription_external_payment_id: Option<String>,
    subscription_start: Option<Timestamp>,
    subscription_end: Option<Timestamp>,
    subscription_cancels: Option<bool>,
}

impl AccountColumns {
    fn plan(&mut self) -> Option<Plan> {
        Some(Plan {
            number: self.plan_number?,
            id: self.plan_id?,
            slug: self.plan_slug.take()?,
            name: self.plan_name.take()?,
            price: Money::from_decimal(self.plan_price?).ok()?,
            billing_cycle: self.plan_billing_cycle?,
            credits_per_month: Credits::new(self.plan_credits?).ok()?,
            max_sites: self.plan_max_sites?,
            max_users: self.plan_max_users?,
            max_sectors: self.plan_max_sectors?,
            features: self.plan_features.take()?,
            is_active: self.plan_is_active?,
            assignment: self.plan_assignment?,
            throttle_factor: self.plan_throttle_factor?,
        })
    }

    fn subscription(&mut self) -> Option<Subscription> {
        Some(Subscription {
            id: self.subscription_id?,
            status: self.subscription_status?,
            payment_method: self.subscription_payment_method,
            external_payment_id: self.subscription_external_payment_id.take(),
            current_period_start: self.subscription_start?,
            current_period_end: self.subscription_end?,
            cancel_at_period_end: self.subscription_cancels?,
        })
    }

    /// The account as it stands at `now`.
    fn account(mut self, grace: TimeDelta, now: Timestamp) -> Option<Account> {
        let mut subscription = self.subscription();
        let plan = self.plan();
        let pool = |credits: Option<i64>| Credits::new(credits.unwrap_or(0)).ok();
        let pools = Pools {
            plan: pool(self.pool_plan)?,
            extra: pool(self.pool_extra)?,
            held: pool(self.pool_held)?,
            last_seq: self.pool_seq.unwrap_or(0),
        };
        let tenancy = if self.is_system? { Tenancy::System } else { Tenancy::Customer };
        let stands = standing(self.account_status?, tenancy, subscription.as_ref(), grace, now);
        if let (Some(subscription), Some(status)) = (&mut subscription, stands.subscription) {
            subscription.status = status;
        }
        Some(Account {
            id: self.account_id?,
            name: self.account_name?,
            slug: self.account_slug?,
            status: stands.account,
            credits: pools.total(),
            pools,
            authority: Authority { account: self.authority.unwrap_or(0), rules: self.rules_version },
            payment_method: self.account_payment_method,
            throttle_factor: self.throttle_factor.unwrap_or(1),
            plan,
            subscription,
        })
    }
}

/// Takes the account's columns out of a row of any query that selects them under these names.
macro_rules! account_columns {
    ($row:ident) => {
        AccountColumns {
            account_id: $row.account_id,
            account_name: $row.account_name,
            account_slug: $row.account_slug,
            account_status: $row.account_status,
            account_payment_method: $row.account_payment_method,
            is_system: $row.is_system,
            pool_plan: $row.pool_plan,
            pool_extra: $row.pool_extra,
            pool_held: $row.pool_held,
            pool_seq: $row.pool_seq,
            authority: $row.authority,
            rules_version: $row.rules_version,
            plan_number: $row.plan_number,
            plan_id: $row.plan_id,
            plan_slug: $row.plan_slug,
            plan_name: $row.plan_name,
            plan_price: $row.plan_price,
            plan_billing_cycle: $row.plan_billing_cycle,
            plan_credits: $row.plan_credits,
            plan_max_sites: $row.plan_max_sites,
            plan_max_users: $row.plan_max_users,
            plan_max_sectors: $row.plan_max_sectors,
            plan_features: $row.plan_features,
            plan_is_active: $row.plan_is_active,
            plan_assignment: $row.plan_assignment,
            plan_throttle_factor: $row.plan_throttle_factor,
            throttle_factor: $row.throttle_factor,
            subscription_id: $row.subscription_id,
            subscription_status: $row.subscription_status,
            subscription_payment_method: $row.subscription_payment_method,
            subscription_external_payment_id: $row.subscription_external_payment_id,
            subscription_start: $row.subscription_start,
            subscription_end: $row.subscription_end,
            subscription_cancels: $row.subscription_cancels,
        }
    };
}

/// How these accounts stand, those that have a balance. By primary key: all that is asked about who was found before.
pub async fn list_standings(executor: impl PgExecutor<'_>, accounts: &[i64]) -> Result<HashMap<AccountId, Standing>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select account_id as "account: AccountId", plan_credits as "plan: Credits", extra_credits as "extra: Credits", held as "held: Credits", last_seq,
               next_expiry_at, next_hold_expiry_at, authority, (select version from spending_rules) as "rules_version!"
        from credit_balances where account_id = any($1)
        "#,
        accounts,
    )
    .fetch_all(executor)
    .await?;
    let standings = rows.into_iter().map(|row| {
        let standing = Standing {
            pools: Pools { plan: row.plan, extra: row.extra, held: row.held, last_seq: row.last_seq },
            authority: Authority { account: row.authority, rules: row.rules_version },
            // Whichever comes first; nothing where neither ever comes.
            ends_at: row.next_expiry_at.into_iter().chain(row.next_hold_expiry_at).min(),
        };
        (row.account, standing)
    });
    Ok(standings.collect())
}

/// The person behind a session, as he stands at `now`; nobody when session, user or account is over. A developer who
/// named a living account stands in that one; where he named another he stands in none.
pub async fn find_person(
    executor: impl PgExecutor<'_>,
    Ticket { session, user, named }: Ticket,
    grace: TimeDelta,
    now: Timestamp,
) -> Result<Option<Person>, StoreError> {
    let _asking = Step::part("gate.person");
    let row = sqlx::query!(
        r#"
        select u.user_id as "user_id: UserId", u.email, u.username, u.first_name, u.last_name, u.role as "role: Role", u.is_superuser, u.account_id as "home: AccountId",
               u.email_verified_at is not null as "email_verified!",
               u.role = 'developer' and not exists (select from second_factors f where f.user_id = u.user_id and f.activated_at is not null) as "must_enroll!",
               -- Counted only for those who could be beyond the seats.
               case when u.role in ('owner', 'developer') or p.max_users > $5 then 0
                    else seniors_of(u.account_id, u.user_id, p.max_users) end as "seniors!",
               a.account_id as "account_id?: AccountId", a.name as "account_name?", a.slug as "account_slug?",
               a.status as "account_status?: AccountStatus", a.payment_method as "account_payment_method?: PaymentMethod", a.is_system as "is_system?",
               b.plan_credits as "pool_plan?", b.last_seq as "pool_seq?", b.authority as "authority?",
               (select version from spending_rules where only_row) as "rules_version!",
               case when b.next_expiry_at <= $3 then credit_extra_at(b.account_id, b.extra_credits, $3) else b.extra_credits end as "pool_extra?",
               case when b.next_hold_expiry_at <= $3 then credit_held_at(b.account_id, $3) else b.held end as "pool_held?",
               coalesce(p.version_of, p.plan_id) as "plan_number?: PlanId", p.plan_id as "plan_id?: PlanId", p.slug as "plan_slug?", p.name as "plan_name?", p.price as "plan_price?",
               p.billing_cycle as "plan_billing_cycle?: BillingCycle", p.effective_credits as "plan_credits?", p.max_sites as "plan_max_sites?",
               p.max_users as "plan_max_users?", p.max_sectors as "plan_max_sectors?", p.features as "plan_features?",
               p.is_active as "plan_is_active?", p.assignment as "plan_assignment?: Assignment", p.throttle_factor as "plan_throttle_factor?",
               coalesce(case when a.throttle_factor_until is null or a.throttle_factor_until > $3 then a.throttle_factor end, p.throttle_factor) as "throttle_factor?",
               s.subscription_id as "subscription_id?: SubscriptionId", s.status as "subscription_status?: SubscriptionStatus",
               s.payment_method as "subscription_payment_method?: PaymentMethod", s.external_payment_id as "subscription_external_payment_id?",
               s.current_period_start as "subscription_start?", s.current_period_end as "subscription_end?",
               s.cancel_at_period_end as "subscription_cancels?", s.next_plan_at as "next_plan_at?", sessions.expires_at as session_expires_at,
               a.throttle_factor_until as "throttle_factor_until?"
        from sessions
        join users u on u.user_id = sessions.user_id
        left join accounts a on a.account_id = case when u.role = 'developer' then coalesce($4, u.account_id) else u.account_id end
                            and ($4::bigint is null or a.deleted_at is null)
        left join credit_balances b on b.account_id = a.account_id
        left join subscriptions s on s.account_id = a.account_id
        left join plans p on p.plan_id = case when s.next_plan_at <= $3 then s.next_plan_id else a.plan_id end
        where sessions.session_id = $1 and sessions.user_id = $2 and sessions.revoked_at is null and sessions.expires_at > $3
          and u.is_active and u.deleted_at is null and a.deleted_at is null
        "#,
        session.0,
        user.0,
        now,
        named.map(|account| account.0),
        people::rules::SEATS_COUNTED_MAX,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| {
        let is_system_account = row.is_system.unwrap_or(false);
        let ends = [Some(row.session_expires_at), row.next_plan_at, row.throttle_factor_until];
        let steady_until = rules::steady_until(ends, row.subscription_end, grace, now);
        let account = account_columns!(row).account(grace, now);
        let plan = account.as_ref().and_then(|account| account.plan.as_ref());
        // Whom no plan admits anyway need not be frozen besides.
        let is_frozen = plan.is_some_and(|plan| people::rules::is_frozen(row.role, Some(plan.max_users), row.seniors));
        Person {
            session,
            user: User {
                id: row.user_id,
                email: row.email,
                username: row.username,
                first_name: row.first_name,
                last_name: row.last_name,
                role: row.role,
                is_superuser: row.is_superuser,
                email_verified: row.email_verified,
                is_frozen,
                account,
            },
            is_system_account,
            home: row.home,
            must_enroll: row.must_enroll,
            steady_until,
        }
    }))
}

/// The site behind a key's hash, with its account as it stands at `now`, and whether a clone of it at that place is known;
/// also when the key opens nothing any more, which is for the rules to say.
pub async fn find_site_of_key_hash(
    pool: &Pool,
    (key_sha256, place): (&[u8; 32], Option<&str>),
    grace: TimeDelta,
    now: Timestamp,
) -> Result<Option<KeyRecord>, StoreError> {
    let _asking = Step::part("gate.site_key");
    let row = sqlx::query!(
        r#"
        select k.site_key_id as "key: SiteKeyId", k.revoked_at, k.expires_at, k.last_used_at, k.scopes as "scopes: Vec<KeyScope>",
               exists (select 1 from site_clones c where c.account_id = k.account_id and c.site_id = k.site_id and c.place = $3) as "clone_is_known!",
               sites.site_id as "site: SiteId", sites.name as site_name, sites.slug as site_slug, sites.url as site_url,
               sites.is_active as site_is_active, sites.deleted_at is not null as "site_is_deleted!",
               (select count(*) from sites older where older.account_id = sites.account_id and older.deleted_at is null and older.site_id < sites.site_id) as "older_sites!", a.deleted_at is not null as "account_is_deleted!",
               a.account_id as "account_id?: AccountId", a.name as "account_name?", a.slug as "account_slug?",
               a.status as "account_status?: AccountStatus", a.payment_method as "account_payment_method?: PaymentMethod", a.is_system as "is_system?",
               b.plan_credits as "pool_plan?", b.last_seq as "pool_seq?", b.authority as "authority?",
               (select version from spending_rules where only_row) as "rules_version!",
               case when b.next_expiry_at <= $2 then credit_extra_at(b.account_id, b.extra_credits, $2) else b.extra_credits end as "pool_extra?",
               case when b.next_hold_expiry_at <= $2 then credit_held_at(b.account_id, $2) else b.held end as "pool_held?",
               coalesce(p.version_of, p.plan_id) as "plan_number?: PlanId", p.plan_id as "plan_id?: PlanId", p.slug as "plan_slug?", p.name as "plan_name?", p.price as "plan_price?",
               p.billing_cycle as "plan_billing_cycle?: BillingCycle", p.effective_credits as "plan_credits?", p.max_sites as "plan_max_sites?",
               p.max_users as "plan_max_users?", p.max_sectors as "plan_max_sectors?", p.features as "plan_features?",
               p.is_active as "plan_is_active?", p.assignment as "plan_assignment?: Assignment", p.throttle_factor as "plan_throttle_factor?",
               coalesce(case when a.throttle_factor_until is null or a.throttle_factor_until > $2 then a.throttle_factor end, p.throttle_factor) as "throttle_factor?",
               s.subscription_id as "subscription_id?: SubscriptionId", s.status as "subscription_status?: SubscriptionStatus",
               s.payment_method as "subscription_payment_method?: PaymentMethod", s.external_payment_id as "subscription_external_payment_id?",
               s.current_period_start as "subscription_start?", s.current_period_end as "subscription_end?",
               s.cancel_at_period_end as "subscription_cancels?", s.next_plan_at as "next_plan_at?", a.throttle_factor_until as "throttle_factor_until?"
        from site_keys k
        join sites on sites.account_id = k.account_id and sites.site_id = k.site_id
        join accounts a on a.account_id = k.account_id
        left join credit_balances b on b.account_id = a.account_id
        left join subscriptions s on s.account_id = a.account_id
        left join plans p on p.plan_id = case when s.next_plan_at <= $2 then s.next_plan_id else a.plan_id end
        where k.key_sha256 = $1
        "#,
        key_sha256.as_slice(),
        now,
        place,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.and_then(|row| {
        let steady_until =
            rules::steady_until([row.expires_at, row.next_plan_at, row.throttle_factor_until], row.subscription_end, grace, now);
        let account = account_columns!(row).account(grace, now)?;
        let site_is_frozen = sites::rules::is_frozen(account.plan.as_ref().map(|plan| plan.max_sites), row.older_sites);
        Some(KeyRecord {
            caller: SiteCaller {
                key: row.key,
                site: row.site,
                site_name: row.site_name,
                site_slug: row.site_slug,
                site_url: row.site_url,
                site_is_active: row.site_is_active,
                site_is_frozen,
                scopes: row.scopes,
                other_home: None,
                steady_until,
                account,
            },
            revoked_at: row.revoked_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            clone_is_known: row.clone_is_known,
            site_is_deleted: row.site_is_deleted,
            account_is_deleted: row.account_is_deleted,
        })
    }))
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
