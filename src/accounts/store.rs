//! SQL of accounts.

use super::model::AccountStatus;
use crate::{clock::Timestamp, db::StoreError, ids::AccountId, ids::PlanId};
use sqlx::PgConnection;

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
pub async fn insert_account(connection: &mut PgConnection, account: &NewAccount<'_>, now: Timestamp) -> Result<Option<AccountId>, StoreError> {
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
