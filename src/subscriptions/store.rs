//! SQL of subscriptions and their periods. STAND-IN of branch `auth`: main overwrites it.

use super::model::{PeriodKind, SubscriptionStatus};
use crate::{clock::Timestamp, db::StoreError, ids::AccountId, period::Period, plans::model::Plan};
use sqlx::PgConnection;

/// An account's first subscription.
#[derive(Debug, Clone, Copy)]
pub struct FirstPeriod<'a> {
    /// The account.
    pub account: AccountId,
    /// What it may use.
    pub plan: &'a Plan,
    /// How the subscription stands.
    pub status: SubscriptionStatus,
    /// What started the period.
    pub kind: PeriodKind,
    /// The period.
    pub period: Period,
}

/// Adds the subscription with its first period.
pub async fn insert_first(connection: &mut PgConnection, first: &FirstPeriod<'_>, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with subscription as (
            insert into subscriptions (account_id, plan_id, status, current_period_start, current_period_end, created_at, updated_at)
            values ($1, $2, $3, $4, $5, $6, $6)
        )
        insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, created_at)
        values ($1, 1, $2, $7, 0, $8, $4, $5, $5, $6)
        "#,
        first.account.0,
        first.plan.id.0,
        first.status.as_str(),
        first.period.starts_at,
        first.period.ends_at,
        now,
        first.kind.as_str(),
        first.plan.credits_per_month.get(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
