//! SQL of accounts.

use super::model::AccountStatus;
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, PaymentMethod, PlanId, UserId},
};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

/// An account's row, locked or looked at.
#[derive(Clone, Debug)]
pub struct AccountRow {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Its word.
    pub slug: String,
    /// As last recorded.
    pub status: AccountStatus,
    /// What it may use.
    pub plan: Option<PlanId>,
    /// How it pays.
    pub payment_method: Option<PaymentMethod>,
    /// Staff's own.
    pub is_system: bool,
    /// Days between deletion and purge.
    pub deletion_retention_days: i32,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Until when it can come back.
    pub restore_until: Option<Timestamp>,
}

/// Locks a living or deleted account, before its subscription, invoices and sites (lock order).
///
/// Not against rows that refer to it: a debit in flight checks that its account exists, and must not wait for us and we for it.
pub async fn lock_account(connection: &mut PgConnection, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let row = sqlx::query_as!(
        AccountRow,
        r#"
        select account_id as "id: AccountId", name, slug, status as "status: AccountStatus", plan_id as "plan: PlanId",
               payment_method as "payment_method: PaymentMethod", is_system, deletion_retention_days, deleted_at, restore_until
        from accounts where account_id = $1 and purged_at is null for no key update
        "#,
        account.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(row)
}

/// Claims an account for this transaction. False where somebody else has it now: he does what is to be done, or the next
/// round does.
pub async fn claim_account(connection: &mut PgConnection, account: AccountId) -> Result<bool, StoreError> {
    let row = sqlx::query_scalar!(
        r#"select true as "claimed!" from accounts where account_id = $1 and deleted_at is null for no key update skip locked"#,
        account.0
    );
    Ok(row.fetch_optional(connection).await?.is_some())
}

/// The number of a living account with that slug.
pub async fn find_by_slug(executor: impl PgExecutor<'_>, slug: &str) -> Result<Option<AccountId>, StoreError> {
    let id = sqlx::query_scalar!(r#"select account_id as "id: AccountId" from accounts where slug = $1 and deleted_at is null"#, slug)
        .fetch_optional(executor)
        .await?;
    Ok(id)
}

/// Records a state.
pub async fn mark_status(
    connection: &mut PgConnection,
    account: AccountId,
    status: AccountStatus,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!("update accounts set status = $2, updated_at = $3 where account_id = $1", account.0, status.as_str(), now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records what the account may use and how it pays.
pub async fn mark_plan(
    connection: &mut PgConnection,
    account: AccountId,
    plan: PlanId,
    method: Option<PaymentMethod>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let method = method.map(PaymentMethod::as_str);
    sqlx::query!(
        "update accounts set plan_id = $2, payment_method = coalesce($3, payment_method), updated_at = $4 where account_id = $1",
        account.0,
        plan.0,
        method,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What an owner may edit.
#[derive(Debug)]
pub struct Details {
    /// Its name.
    pub name: String,
    /// Where invoices go.
    pub billing_email: Option<String>,
    /// What stands on invoices.
    pub billing_address: Value,
}

/// The editable details, and how many sites and users live.
#[derive(Debug)]
pub struct Found {
    /// The details.
    pub details: Details,
    /// Live sites.
    pub sites: i64,
    /// Live users.
    pub users: i64,
}

/// The editable details with the use of the plan's limits, in one query.
pub async fn find_details(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query!(
        r#"
        select name, billing_email, billing_address,
               (select count(*) from sites where account_id = $1 and deleted_at is null) as "sites!",
               (select count(*) from users where account_id = $1 and deleted_at is null) as "users!"
        from accounts where account_id = $1
        "#,
        account.0
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Found {
        details: Details { name: row.name, billing_email: row.billing_email, billing_address: row.billing_address },
        sites: row.sites,
        users: row.users,
    }))
}

/// Writes the editable details.
pub async fn mark_details(connection: &mut PgConnection, account: AccountId, details: &Details, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update accounts set name = $2, billing_email = $3, billing_address = $4, updated_at = $5 where account_id = $1",
        account.0,
        details.name,
        details.billing_email,
        details.billing_address,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes softly (H).
pub async fn mark_deleted(
    connection: &mut PgConnection,
    account: AccountId,
    by: UserId,
    restore_until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update accounts set deleted_at = $4, deleted_by = $2, restore_until = $3, updated_at = $4 where account_id = $1 and deleted_at is null",
        account.0,
        by.0,
        restore_until,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a soft deletion back.
pub async fn mark_restored(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update accounts set deleted_at = null, deleted_by = null, restore_until = null, updated_at = $2 where account_id = $1",
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A deleted account whose time to come back is over.
pub async fn lock_purgeable(connection: &mut PgConnection, now: Timestamp) -> Result<Option<AccountId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        select account_id as "id: AccountId" from accounts
        where deleted_at is not null and purged_at is null and restore_until <= $1
        order by account_id limit 1 for update skip locked
        "#,
        now
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}

/// Takes everything personal out of an account; the financial records stay (H).
pub async fn anonymise(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update accounts set name = 'Deleted account', slug = 'deleted-' || account_id, billing_email = null, billing_address = '{}', purged_at = $2, updated_at = $2 where account_id = $1",
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An account that is about to exist.
#[derive(Debug, Clone, Copy)]
pub struct NewAccount<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its word.
    pub slug: &'a str,
    /// How it starts.
    pub status: AccountStatus,
    /// What it may use.
    pub plan: PlanId,
    /// Where invoices go.
    pub billing_email: Option<&'a str>,
    /// Whether it is staff's own.
    pub is_system: bool,
}

/// Adds an account, unless a living one has its slug.
///
/// Another one being added with the same slug is waited for, and is seen once it is there.
pub async fn insert_account(
    connection: &mut PgConnection,
    account: &NewAccount<'_>,
    now: Timestamp,
) -> Result<Option<AccountId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into accounts (name, slug, status, plan_id, billing_email, is_system, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $7)
        on conflict (slug) where deleted_at is null do nothing
        returning account_id as "account_id: AccountId"
        "#,
        account.name,
        account.slug,
        account.status.as_str(),
        account.plan.0,
        account.billing_email,
        account.is_system,
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}

/// The system account of that slug; a customer's is never found.
pub async fn find_system_account(connection: &mut PgConnection, slug: &str) -> Result<Option<AccountId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"select account_id as "account_id: AccountId" from accounts where slug = $1 and is_system and deleted_at is null"#,
        slug,
    );
    Ok(id.fetch_optional(connection).await?)
}

/// Accounts whose recorded state is behind the calendar: the period is over, or a smaller plan has begun, and what follows is
/// not recorded yet. One in
/// grace is due again when the grace is over. Read across to the subscriptions, or stopped accounts would be due for ever.
pub async fn list_due(
    executor: impl PgExecutor<'_>,
    grace_began_before: Timestamp,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let accounts = sqlx::query_scalar!(
        r#"
        select a.account_id as "account_id: AccountId"
        from subscriptions s join accounts a on a.account_id = s.account_id
        where (s.next_plan_at <= $1
               or s.status <> 'canceled' and s.current_period_end <= $1
                  and (s.status <> 'past_due' or s.cancel_at_period_end or s.current_period_end <= $2))
          and a.status in ('trial', 'active', 'pending_payment') and not a.is_system and a.deleted_at is null
        order by s.current_period_end limit $3
        "#,
        now,
        grace_began_before,
        limit
    )
    .fetch_all(executor)
    .await?;
    Ok(accounts)
}
