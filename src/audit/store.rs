//! SQL of the log.

use super::model::{Entry, Origin};
use crate::{db::StoreError, ids::AuditId};
use sqlx::PgConnection;

/// Adds a row.
pub async fn append_entry(connection: &mut PgConnection, origin: &Origin, entry: &Entry) -> Result<AuditId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into audit_log (account_id, actor, action, target, before, after, reason, request_id, client_address, at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        returning audit_id as "audit_id: AuditId"
        "#,
        entry.account.map(|account| account.0),
        origin.actor,
        entry.action,
        entry.target,
        entry.before,
        entry.after,
        entry.reason,
        origin.request_id,
        origin.client_address,
        entry.at,
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
}
