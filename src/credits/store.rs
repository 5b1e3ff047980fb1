//! SQL of the ledger. STAND-IN of branch `auth`: main overwrites it.

use crate::{clock::Timestamp, db::StoreError, ids::AccountId, plans::model::Plan};
use serde_json::json;
use sqlx::PgConnection;

/// Adds the balance with the first row that explains it.
pub async fn insert_first(connection: &mut PgConnection, account: AccountId, period_seq: i32, plan: &Plan, actor: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with balance as (
            insert into credit_balances (account_id, plan_credits, extra_credits, last_seq) values ($1, $3, 0, 1)
        )
        insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, metadata, period_seq, actor, created_at)
        values ($1, 1, 'subscription', $3, 0, $3, 0, $4, $5, $2, $6, $7)
        "#,
        account.0,
        period_seq,
        plan.credits_per_month.get(),
        format!("Initial credits from {}", plan.name),
        json!({ "registration": true, "plan_slug": plan.slug }),
        actor,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
