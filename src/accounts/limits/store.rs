//! SQL of limits: two columns of the account.

use super::model::{AccountLimits, OwnFactor};
use crate::{clock::Timestamp, db::StoreError, ids::AccountId};
use sqlx::PgConnection;

/// Takes a living account for a change of its limits, and gives those it has.
pub async fn lock_limits(connection: &mut PgConnection, account: AccountId) -> Result<Option<AccountLimits>, StoreError> {
    let row = sqlx::query!(
        r#"
        select a.throttle_factor as factor, a.throttle_factor_until as until, p.throttle_factor as "plan_factor?"
        from accounts a
        left join plans p on p.plan_id = a.plan_id
        where a.account_id = $1 and a.deleted_at is null
        for no key update of a
        "#,
        account.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| AccountLimits {
        account_id: account,
        own: OwnFactor { factor: row.factor, until: row.until },
        plan_factor: row.plan_factor,
    }))
}

/// Gives the account these limits.
pub async fn mark_limits(connection: &mut PgConnection, account: AccountId, own: OwnFactor, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update accounts set throttle_factor = $2, throttle_factor_until = $3, updated_at = $4 where account_id = $1",
        account.0,
        own.factor,
        own.until,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
