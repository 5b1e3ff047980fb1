//! Says what another address is. Each decision has its audit row.

use super::{
    model::{Decision, Resolution},
    store,
};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError, begin, retried},
    ids::SiteId,
    sites::{
        self,
        model::{Author, HomeUrl, Site, SiteEdit},
        service::{SiteError, lock_thawed_in, record_in},
    },
};
use serde_json::json;

/// Decides about another address: the site has moved there, or it is a clone that stays read-only. Moved, the old address is
/// the other one from now on.
pub async fn resolve(pool: &Pool, author: &Author<'_>, site: SiteId, decision: &Decision, now: Timestamp) -> Result<Site, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let before = lock_thawed_in(&mut tx, author, site).await?;
        let place = decision.url.place();
        let found = store::find_clone(&mut tx, author.account, site, place.as_deref()).await?.ok_or(SiteError::NoUrlConflict)?;
        match decision.action {
            Resolution::Ignore if found.ignored_at.is_some() => return Ok(before),
            Resolution::Ignore => {
                store::mark_ignored(&mut tx, author.account, site, &found.place, now).await?;
                record_in(&mut tx, author, "site.clone_ignored", site, json!({}), json!({"clone": found.url}), now).await?;
            }
            Resolution::Move => {
                store::delete_clones_at(&mut tx, author.account, site, Some(&found.place)).await?;
                let edit = SiteEdit { url: Some(HomeUrl(Some(found.url.clone()))), ..SiteEdit::default() };
                sites::store::update_site(&mut tx, author.account, site, (&edit, None), now).await?;
                record_in(&mut tx, author, "site.moved", site, json!({"url": before.url}), json!({"url": found.url}), now).await?;
            }
        }
        let after = sites::store::get_site(&mut tx, author.account, site).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(after)
    })
    .await
}
