//! Starts paid time. STAND-IN of branch `auth`: main overwrites it and keeps these signatures.

use super::{
    model::{PeriodKind, SubscriptionStatus},
    store::{self, FirstPeriod},
};
use crate::{clock::Timestamp, db::StoreError, ids::AccountId, period::Period, plans::model::Plan};
use sqlx::PgConnection;

/// Starts a trial (B1) in the caller's transaction. Gives the period's number within the account.
pub async fn start_trial_in(connection: &mut PgConnection, account: AccountId, plan: &Plan, trial_days: u16, now: Timestamp) -> Result<i32, StoreError> {
    let period = Period::trial(trial_days, now);
    let first = FirstPeriod { account, plan, status: SubscriptionStatus::Trialing, kind: PeriodKind::Trial, period };
    store::insert_first(connection, &first, now).await?;
    Ok(1)
}

/// Starts a period that nobody pays for, such as a system account's, in the caller's transaction. Gives its number.
pub async fn start_manual_in(connection: &mut PgConnection, account: AccountId, plan: &Plan, days: u16, now: Timestamp) -> Result<i32, StoreError> {
    let period = Period { starts_at: now, ends_at: now + crate::period::days(days) };
    let first = FirstPeriod { account, plan, status: SubscriptionStatus::Active, kind: PeriodKind::Manual, period };
    store::insert_first(connection, &first, now).await?;
    Ok(1)
}
