//! Writes the log, always inside the transaction of the change itself.

use super::{
    model::{Entry, Origin},
    store,
};
use crate::{db::StoreError, ids::AuditId};
use sqlx::PgConnection;

/// Records one change in the caller's transaction: it is there exactly if the change is.
pub async fn record_in(connection: &mut PgConnection, origin: &Origin, entry: &Entry) -> Result<AuditId, StoreError> {
    store::append_entry(connection, origin, entry).await
}
