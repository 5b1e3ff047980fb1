//! Makes and revokes keys. Each change has its audit row.

use super::{
    model::{KeyOrder, NewSiteKey, RevokedKeys},
    rules::{self, OldKeys},
    store,
};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError, begin, retried},
    ids::SiteId,
    secrets,
    sites::{self, model::Author, service::SiteError},
};
use serde_json::json;

/// Makes a new key for a site, which alone this answer shows. The newest of the old keys lives on for so many minutes, or
/// stops at once; two are alive at the most, so those before it stop in any case.
pub async fn create(pool: &Pool, author: &Author<'_>, site: SiteId, order: &KeyOrder, now: Timestamp) -> Result<NewSiteKey, SiteError> {
    retried(async || {
        let mut tx = begin(pool).await?;
        // Locked, so that two rotations at once don't leave two keys without an end.
        sites::service::lock_thawed_in(&mut tx, author, site).await?;
        let (revoked, living_on) = match rules::old_keys(order.overlap_minutes, now) {
            OldKeys::Revoked => (store::mark_keys_revoked(&mut tx, author.account, site, now).await?, 0),
            OldKeys::LiveUntil(until) => {
                let revoked = store::mark_older_keys_revoked(&mut tx, author.account, site, now).await?;
                (revoked, store::mark_keys_expiring(&mut tx, author.account, site, until, now).await?)
            }
        };
        let key = secrets::new_site_key();
        let view = store::insert_key(&mut tx, author.account, site, (&key, &order.scopes), author.user, now).await?;
        let after = json!({
            "key": view.id, "last_four": view.last_four, "scopes": view.scopes, "revoked": revoked, "living_on": living_on,
            "overlap_minutes": order.overlap_minutes,
        });
        sites::service::record_in(&mut tx, author, "site_key.created", site, json!({}), after, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(NewSiteKey { key, view })
    })
    .await
}

/// Stops all keys of a site at once.
pub async fn revoke(pool: &Pool, author: &Author<'_>, site: SiteId, now: Timestamp) -> Result<RevokedKeys, SiteError> {
    retried(async || {
        let mut tx = begin(pool).await?;
        sites::store::lock_site(&mut tx, author.account, author.sight, site).await?.ok_or(SiteError::NotFound)?;
        let revoked = store::mark_keys_revoked(&mut tx, author.account, site, now).await?;
        sites::service::record_in(&mut tx, author, "site_key.revoked", site, json!({}), json!({"revoked": revoked}), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(RevokedKeys { revoked: i64::try_from(revoked).unwrap_or(i64::MAX) })
    })
    .await
}
