//! Creates, changes, deletes and restores sites. Each change has its audit row.

use super::{
    clones,
    industries::{self, model::Named},
    keys,
    model::{Author, DeletedSite, Draft, HomeUrl, Sight, Site, SiteEdit},
    rules::{self, LimitReached},
    sectors::{self, rules::SectorLimitReached},
    store,
};
use crate::{
    accounts::{self, store::AccountRow},
    audit::{self, model::Entry},
    clock::Timestamp,
    db::{MayCollide, Pool, StoreError, begin, retried},
    ids::{AccountId, IndustryId, SiteId},
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::pin::Pin;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// No such site, or not for him who asks.
    #[error("no such site")]
    NotFound,
    /// The plan has no room for it any more.
    #[error("the site is frozen")]
    Frozen,
    /// The plan has room for no more.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// The word asked for belongs to another living site of the account.
    #[error("another site has this slug")]
    SlugTaken,
    /// The word of a deleted site was taken meanwhile.
    #[error("another site has taken the slug")]
    SlugTakenMeanwhile,
    /// There is no such industry.
    #[error("no such industry")]
    UnknownIndustry,
    /// The site's industry has no such sector.
    #[error("the site's industry has no such sector")]
    UnknownSector,
    /// The site covers it already.
    #[error("the site has this sector")]
    SectorTaken,
    /// The plan has room for no more sectors on this site.
    #[error(transparent)]
    SectorLimitReached(#[from] SectorLimitReached),
    /// It was used from no other address that nobody has decided about.
    #[error("there is no other address to decide about")]
    NoUrlConflict,
    /// One who is to see it is no editor or viewer of the account.
    #[error("a user can't be given sight of it")]
    NobodyToSee,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for SiteError {
    fn is_collision(&self) -> bool {
        matches!(self, SiteError::Store(error) if error.is_collision())
    }
}

/// Creates a site. Whoever sees only what was granted to him is granted what he creates.
pub async fn create(pool: &Pool, author: &Author<'_>, draft: &Draft, now: Timestamp) -> Result<Site, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let account = lock_account_in(&mut tx, author).await?;
        check_room_in(&mut tx, author, &account, now).await?;
        let (slug, on_taken) = match &draft.slug {
            Some(slug) => (slug.as_str().to_owned(), SiteError::SlugTaken),
            None => (free_slug_in(&mut tx, author, &draft.name).await?, SiteError::SlugTakenMeanwhile),
        };
        let industry = find_industry_in(&mut tx, draft.industry.as_ref()).await?;
        let new = store::NewSite { name: &draft.name, slug: &slug, url: draft.url.0.as_deref(), industry };
        let id = unless_slug_taken(store::insert_site(&mut tx, author.account, &new, now).await, on_taken)?;
        let site = store::get_site(&mut tx, author.account, id).await?;
        if let Sight::GrantedTo(user) = author.sight {
            store::insert_access(&mut tx, author.account, site.id, user, now).await?;
        }
        record_in(&mut tx, author, "site.created", site.id, json!({}), facts(&site), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(site)
    })
    .await
}

/// Changes a site. A change that changes nothing leaves no trace.
pub async fn change(pool: &Pool, author: &Author<'_>, site: SiteId, edit: &SiteEdit, now: Timestamp) -> Result<Site, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let before = lock_thawed_in(&mut tx, author, site).await?;
        let industry = match &edit.industry {
            Some(named) => Some(find_industry_in(&mut tx, named.as_ref()).await?),
            None => None,
        };
        store::update_site(&mut tx, author.account, site, (edit, industry), now).await?;
        if industry.is_some_and(|industry| industry != before.industry.as_ref().map(|industry| industry.id)) {
            // Its sectors were the other industry's; what they are called is still what the site covers.
            sectors::store::mark_own_names(&mut tx, author.account, site).await?;
        }
        if edit.url.as_ref().is_some_and(|url| url.0 != before.url) {
            clones::store::delete_clones_at(&mut tx, author.account, site, edit.url.as_ref().and_then(HomeUrl::place).as_deref()).await?;
        }
        let after = store::get_site(&mut tx, author.account, site).await?;
        if facts(&before) == facts(&after) {
            return Ok(before);
        }
        record_in(&mut tx, author, "site.changed", site, facts(&before), facts(&after), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(after)
    })
    .await
}

/// Deletes a site so that it can be restored for the account's retention time (H). Its word is free and its keys stop at
/// once; they stay stopped when it is restored, for what was once given up is not to be trusted again unasked.
pub async fn delete(pool: &Pool, author: &Author<'_>, site: SiteId, now: Timestamp) -> Result<DeletedSite, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let account = lock_account_in(&mut tx, author).await?;
        let before = store::lock_site(&mut tx, author.account, author.sight, site).await?.ok_or(SiteError::NotFound)?;
        let restore_until = rules::restore_until(account.deletion_retention_days, now);
        let deleted = DeletedSite { id: site, deleted_at: now, restore_until };
        store::mark_deleted(&mut tx, author.account, &deleted, author.user).await?;
        let revoked = keys::store::mark_keys_revoked(&mut tx, author.account, site, now).await?;
        let after = json!({"restore_until": restore_until, "revoked_keys": revoked});
        record_in(&mut tx, author, "site.deleted", site, facts(&before), after, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(deleted)
    })
    .await
}

/// Brings a deleted site back, under its old word, if the plan has room and its time is not over.
pub async fn restore(pool: &Pool, author: &Author<'_>, site: SiteId, now: Timestamp) -> Result<Site, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let account = lock_account_in(&mut tx, author).await?;
        store::lock_deleted_site(&mut tx, author.account, site, now).await?.ok_or(SiteError::NotFound)?;
        check_room_in(&mut tx, author, &account, now).await?;
        let marked = store::mark_restored(&mut tx, author.account, site, now).await;
        unless_slug_taken(marked, SiteError::SlugTakenMeanwhile)?;
        let restored = store::get_site(&mut tx, author.account, site).await?;
        record_in(&mut tx, author, "site.restored", site, json!({}), facts(&restored), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(restored)
    })
    .await
}

/// Deletes for good what can't be restored any more, at most `limit` sites, keys and access with them. Returns how many.
///
/// No audit row of its own: the deletion's row named the day, and here that promise is only kept.
pub async fn purge_deleted(pool: &Pool, limit: i64, now: Timestamp) -> Result<u64, StoreError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let purged = store::delete_overdue(&mut tx, limit, now).await?;
        tx.commit().await?;
        Ok(purged)
    })
    .await
}

/// Deletes for good all sites of an account that is purged, with keys, access, sectors and events. Joins the purge's transaction.
pub fn go_with_account(
    connection: &mut PgConnection,
    account: AccountId,
) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>> {
    Box::pin(store::delete_all(connection, account))
}

/// A site as it stands under a plan with room for so many.
pub(super) fn judged(site: Site, max_sites: Option<i32>) -> Site {
    Site { is_frozen: rules::is_frozen(max_sites, site.older_sites), ..site }
}

/// Locks a site that the author sees and that the plan has room for.
pub(super) async fn lock_thawed_in(connection: &mut PgConnection, author: &Author<'_>, site: SiteId) -> Result<Site, SiteError> {
    let site = store::lock_site(connection, author.account, author.sight, site).await?.ok_or(SiteError::NotFound)?;
    let site = judged(site, author.max_sites);
    if site.is_frozen { Err(SiteError::Frozen) } else { Ok(site) }
}

/// Locks the account, so that he who counts its sites counts alone. Before any site, as the order of locks wants it.
pub(super) async fn lock_account_in(connection: &mut PgConnection, author: &Author<'_>) -> Result<AccountRow, SiteError> {
    accounts::store::lock_account(connection, author.account).await?.filter(|row| row.deleted_at.is_none()).ok_or(SiteError::NotFound)
}

/// Whether the locked account's plan, as it is now and not as the gate saw it, has room for one more site.
async fn check_room_in(connection: &mut PgConnection, author: &Author<'_>, account: &AccountRow, now: Timestamp) -> Result<(), SiteError> {
    let limit = accounts::service::plan_in(connection, account, now).await?.map(|plan| plan.max_sites);
    let used = store::count_sites(connection, author.account).await?;
    Ok(rules::room_for_one(limit, used)?)
}

/// A free word made from the name. It stays free: words are only taken under the account's lock.
async fn free_slug_in(connection: &mut PgConnection, author: &Author<'_>, name: &str) -> Result<String, SiteError> {
    let stem = rules::slug_stem(name);
    let taken = store::list_slugs_like(connection, author.account, &stem).await?;
    Ok(rules::free_slug(&stem, &taken))
}

async fn find_industry_in(connection: &mut PgConnection, named: Option<&Named>) -> Result<Option<IndustryId>, SiteError> {
    match named {
        Some(named) => industries::store::find_industry(connection, named).await?.ok_or(SiteError::UnknownIndustry).map(Some),
        None => Ok(None),
    }
}

fn unless_slug_taken<T>(stored: Result<T, StoreError>, on_taken: SiteError) -> Result<T, SiteError> {
    stored.map_err(|error| if error.is_constraint("sites_slug_key") { on_taken } else { error.into() })
}

/// What the log keeps of a site.
fn facts(site: &Site) -> Value {
    let industry = site.industry.as_ref().map(|industry| &industry.slug);
    json!({"name": site.name, "slug": site.slug, "url": site.url, "is_active": site.is_active, "industry": industry})
}

/// Records a change of a site or of its keys.
pub(super) async fn record_in(
    connection: &mut PgConnection,
    author: &Author<'_>,
    action: &'static str,
    site: SiteId,
    before: Value,
    after: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Entry { account: Some(author.account), action, target: format!("site:{site}"), before, after, reason: None, at: now };
    audit::service::record_in(connection, author.origin, &entry).await?;
    Ok(())
}
