//! SQL of the accounts.

use crate::{
    db::StoreError,
    ids::{AccountId, PlanId},
};
use sqlx::PgConnection;

/// What a change within an account needs of it, once it is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedAccount {
    /// What it may use.
    pub plan: Option<PlanId>,
    /// Days between a deletion and its purge (H).
    pub deletion_retention_days: i32,
}

/// Locks a living account until the transaction ends: whoever counts what it has counts alone.
///
/// First in the order of locks: account, subscription, invoice, site.
pub async fn lock_account(connection: &mut PgConnection, account: AccountId) -> Result<Option<LockedAccount>, StoreError> {
    let locked = sqlx::query_as!(
        LockedAccount,
        r#"
        select plan_id as "plan: PlanId", deletion_retention_days
        from accounts
        where account_id = $1 and deleted_at is null
        for no key update
        "#,
        account.0,
    )
    .fetch_optional(connection)
    .await?;
    Ok(locked)
}
