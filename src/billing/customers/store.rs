//! SQL of the admins' look at accounts: reads only, across rooms.

use super::model::{Customer, CustomerFilter, Instants};
use crate::{
    accounts::model::AccountStatus,
    billing::store::money,
    db::{Pool, StoreError},
    ids::{AccountId, PaymentMethod, SubscriptionId},
    money::{Credits, Money},
    subscriptions::model::{Subscription, SubscriptionStatus},
};
use sqlx::PgExecutor;

/// Selects accounts as they stand at `$1`, where grace began at `$2`; `$3` status, `$4` plan. The condition on the status is
/// `accounts::rules::standing` in SQL, for a filter must not pass over what the scheduler has not recorded yet.
macro_rules! customers {
    ($found:tt, $rest:tt, $filter:expr, $at:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            Customer,
            $found + r#"
            select a.account_id as "id: AccountId", a.slug, a.name, stands.status as "status!: AccountStatus", p.slug as "plan?",
                   coalesce(b.plan_credits + b.extra_credits, 0) as "credits!: Credits",
                   (select u.email from users u where u.account_id = a.account_id and u.deleted_at is null
                    order by u.role <> 'owner', u.user_id limit 1) as owner_email,
                   a.billing_email, s.current_period_end as "current_period_end?", i.number as "open_invoice?",
                   coalesce(i.due_at <= $1, false) as "is_overdue!", a.is_system, a.deleted_at, a.created_at
            from accounts a
            left join plans p on p.plan_id = a.plan_id
            left join credit_balances b on b.account_id = a.account_id
            left join subscriptions s on s.account_id = a.account_id
            left join invoices i on i.account_id = a.account_id and i.status = 'open'
            cross join lateral (
                select case
                    when a.is_system or a.status in ('suspended', 'cancelled') or s.current_period_end is null or s.current_period_end > $1 then a.status
                    when s.cancel_at_period_end or s.status = 'canceled' then 'cancelled'
                    when s.status <> 'trialing' and s.current_period_end > $2 then a.status
                    else 'suspended'
                end as status
            ) stands
            where ($3::text is null or stands.status = $3) and ($4::text is null or p.slug = $4) "# + $rest,
            $at.now,
            $at.grace_began,
            $filter.status.map(AccountStatus::as_str),
            $filter.plan
            $(, $argument)*
        )
    };
}

/// The same, of accounts that something typed leads to.
macro_rules! found {
    ($rest:tt, $filter:expr, $at:expr, $search:expr, $bound:expr, $limit:expr) => {
        customers!(
            r#"
            with found as (
                select account_id from accounts where account_id = $7
                union select account_id from accounts where slug ~>=~ $8 and slug ~<~ $9
                union select account_id from accounts where to_tsvector('simple', name) @@ to_tsquery('simple', $10)
                union select account_id from users where deleted_at is null and email ~>=~ $8 and email ~<~ $9
                union select account_id from invoices where number ~>=~ $11 and number ~<~ $12
                union select account_id from invoices where reference ~>=~ $13 and reference ~<~ $14
                union select account_id from payments where external_payment_id ~>=~ $15 and external_payment_id ~<~ $16
            )
            "#,
            $rest,
            $filter,
            $at,
            $bound,
            $limit,
            $search.id,
            $search.lower.0,
            $search.lower.1,
            $search.words,
            $search.upper.0,
            $search.upper.1,
            $search.reference.0,
            $search.reference.1,
            $search.typed.0,
            $search.typed.1
        )
    };
}

/// Accounts below a number, newest first.
pub async fn list_older(
    pool: &Pool,
    filter: &CustomerFilter,
    older_than: Option<i64>,
    limit: i64,
    at: Instants,
) -> Result<Vec<Customer>, StoreError> {
    let bound = older_than.unwrap_or(i64::MAX);
    let rows = match &filter.search {
        None => customers!("", "and a.account_id < $5 order by a.account_id desc limit $6", filter, at, bound, limit).fetch_all(pool).await,
        Some(search) => {
            found!(
                "and a.account_id < $5 and a.account_id in (select account_id from found) order by a.account_id desc limit $6",
                filter,
                at,
                search,
                bound,
                limit
            )
            .fetch_all(pool)
            .await
        }
    };
    Ok(rows?)
}

/// Accounts above a number, oldest first.
pub async fn list_newer(
    pool: &Pool,
    filter: &CustomerFilter,
    newer_than: i64,
    limit: i64,
    at: Instants,
) -> Result<Vec<Customer>, StoreError> {
    let rows = match &filter.search {
        None => customers!("", "and a.account_id > $5 order by a.account_id limit $6", filter, at, newer_than, limit).fetch_all(pool).await,
        Some(search) => {
            found!(
                "and a.account_id > $5 and a.account_id in (select account_id from found) order by a.account_id limit $6",
                filter,
                at,
                search,
                newer_than,
                limit
            )
            .fetch_all(pool)
            .await
        }
    };
    Ok(rows?)
}

/// One account, deleted or not.
pub async fn find_customer(executor: impl PgExecutor<'_>, account: AccountId, at: Instants) -> Result<Option<Customer>, StoreError> {
    let everything = CustomerFilter::default();
    Ok(customers!("", "and a.account_id = $5", everything, at, account.0).fetch_optional(executor).await?)
}

/// What an account has and uses.
pub struct Holdings {
    /// Credits of the period.
    pub plan_credits: Credits,
    /// Credits that outlast it.
    pub extra_credits: Credits,
    /// Money kept with us.
    pub money: Money,
    /// Live sites.
    pub sites: i64,
    /// Live users.
    pub users: i64,
}

/// Balances and counts of an account.
pub async fn get_holdings(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Holdings, StoreError> {
    let row = sqlx::query!(
        r#"
        select coalesce(b.plan_credits, 0) as "plan_credits!: Credits", coalesce(b.extra_credits, 0) as "extra_credits!: Credits",
               coalesce(m.balance, 0) as "money!",
               (select count(*) from sites where account_id = $1 and deleted_at is null) as "sites!",
               (select count(*) from users where account_id = $1 and deleted_at is null) as "users!"
        from accounts a left join credit_balances b on b.account_id = a.account_id left join account_money m on m.account_id = a.account_id
        where a.account_id = $1
        "#,
        account.0
    )
    .fetch_one(executor)
    .await?;
    let (plan_credits, extra_credits, money) = (row.plan_credits, row.extra_credits, money(row.money)?);
    Ok(Holdings { plan_credits, extra_credits, money, sites: row.sites, users: row.users })
}

/// An account's subscription as last recorded.
pub async fn find_subscription(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Option<Subscription>, StoreError> {
    let subscription = sqlx::query_as!(
        Subscription,
        r#"
        select subscription_id as "id: SubscriptionId", status as "status: SubscriptionStatus", payment_method as "payment_method: PaymentMethod",
               external_payment_id, current_period_start, current_period_end, cancel_at_period_end
        from subscriptions where account_id = $1
        "#,
        account.0
    );
    Ok(subscription.fetch_optional(executor).await?)
}
