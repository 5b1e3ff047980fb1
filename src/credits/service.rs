//! Grants an account's first credits. STAND-IN of branch `auth`: main overwrites it and keeps this signature.

use super::store;
use crate::{clock::Timestamp, db::StoreError, ids::AccountId, plans::model::Plan};
use sqlx::PgConnection;

/// Gives a new account its plan's effective credits, with the ledger row that says so (A2), in the caller's transaction.
pub async fn seed_in(connection: &mut PgConnection, account: AccountId, period_seq: i32, plan: &Plan, actor: &str, now: Timestamp) -> Result<(), StoreError> {
    store::insert_first(connection, account, period_seq, plan, actor, now).await
}
