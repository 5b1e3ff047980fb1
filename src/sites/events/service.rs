//! Keeps what plugins report, each event once.

use super::{
    model::{EVENTS_KEPT_DAYS, NewEvent, Report},
    store,
};
use crate::{
    clock::Timestamp,
    db::{MayCollide, Pool, StoreError, begin, retried},
    ids::{AccountId, SiteId},
    period::days,
    sites::{self, model::Sight},
};

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The site is gone since the key was read.
    #[error("no such site")]
    NotFound,
    /// An event was reported before with another payload.
    #[error("event {event_type} {external_id} came with another payload before")]
    Conflict {
        /// Its type.
        event_type: String,
        /// The plugin's own word for it.
        external_id: String,
    },
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for EventError {
    fn is_collision(&self) -> bool {
        matches!(self, EventError::Store(error) if error.is_collision())
    }
}

/// Keeps a report: all of it, or nothing where one of its events contradicts what was reported before.
pub async fn report(pool: &Pool, account: AccountId, site: SiteId, events: &[NewEvent], now: Timestamp) -> Result<Report, EventError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        // Locked, so that two reports with the same events in another order don't wait for each other, and numbers grow with time.
        sites::store::lock_site(&mut tx, account, Sight::Only(site), site).await?.ok_or(EventError::NotFound)?;
        let created = store::insert_events(&mut tx, account, site, events, now).await?;
        let kept = store::list_reported(&mut tx, account, site, events).await?;
        if let Some(other) = kept.iter().find(|kept| !kept.is_same) {
            let (event_type, external_id) = (other.event.event_type.clone(), other.event.external_id.clone());
            return Err(EventError::Conflict { event_type, external_id });
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Report { events: kept.into_iter().map(|kept| kept.event).collect(), created })
    })
    .await
}

/// Deletes events that were kept long enough, at most `limit` of them. Returns how many.
pub async fn purge(pool: &Pool, limit: i64, now: Timestamp) -> Result<u64, StoreError> {
    store::delete_old(pool, limit, now - days(EVENTS_KEPT_DAYS)).await
}
