//! SQL of trials that get longer.

use crate::{clock::Timestamp, db::StoreError, ids::AccountId, period::Period};
use sqlx::PgConnection;

/// Gives the running trial its later end, in the history and in the subscription, which must be locked. Tells whether exactly
/// one row of each had the earlier one; otherwise none was running, and the transaction must not commit.
pub async fn mark_extended(
    connection: &mut PgConnection,
    account: AccountId,
    (before, after): (Period, Period),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let periods = sqlx::query!(
        r#"
        update subscription_periods set ends_at = $3, planned_ends_at = $3
        where account_id = $1 and kind = 'trial' and ends_at = $2 and reversed_at is null
        "#,
        account.0,
        before.ends_at,
        after.ends_at
    )
    .execute(&mut *connection)
    .await?;
    let subscriptions = sqlx::query!(
        r#"
        update subscriptions set current_period_end = $3, updated_at = $4
        where account_id = $1 and status = 'trialing' and current_period_end = $2
        "#,
        account.0,
        before.ends_at,
        after.ends_at,
        now
    )
    .execute(connection)
    .await?;
    Ok((periods.rows_affected(), subscriptions.rows_affected()) == (1, 1))
}
