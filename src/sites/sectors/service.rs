//! Adds and takes away sectors. Each change has its audit row.

use super::{
    model::{DeletedSector, NewSector, SiteSector},
    rules, store,
};
use crate::{
    accounts,
    clock::Timestamp,
    db::{Pool, StoreError, begin, retried},
    ids::{SiteId, SiteSectorId},
    sites::{
        self, industries,
        model::{Author, Site},
        service::{SiteError, lock_account_in, lock_thawed_in, record_in},
    },
};
use serde_json::json;
use sqlx::PgConnection;

/// Adds a sector to a site, if the plan has room for it.
pub async fn add(pool: &Pool, author: &Author<'_>, site: SiteId, new: &NewSector, now: Timestamp) -> Result<SiteSector, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let account = lock_account_in(&mut tx, author).await?;
        // Locked, so that he who counts its sectors counts alone.
        let home = lock_thawed_in(&mut tx, author, site).await?;
        let limit = accounts::service::plan_in(&mut tx, &account, now).await?.map(|plan| plan.max_sectors);
        rules::room_for_one(limit, store::count_sectors(&mut tx, author.account, site).await?)?;
        let sector = insert_in(&mut tx, author, &home, new, now).await?;
        let after = json!({"sector": sector.id, "name": sector.name});
        record_in(&mut tx, author, "site.sector_added", site, json!({}), after, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(sector)
    })
    .await
}

async fn insert_in(
    connection: &mut PgConnection,
    author: &Author<'_>,
    site: &Site,
    new: &NewSector,
    now: Timestamp,
) -> Result<SiteSector, SiteError> {
    let (name, industry_sector) = match (new, &site.industry) {
        (NewSector::Own(name), _) => (name.clone(), None),
        (NewSector::OfIndustry(_), None) => return Err(SiteError::UnknownSector),
        (NewSector::OfIndustry(named), Some(industry)) => {
            let sector = industries::store::find_sector(&mut *connection, industry.id, named).await?.ok_or(SiteError::UnknownSector)?;
            (sector.name.clone(), Some(sector))
        }
    };
    let of_industry = industry_sector.as_ref().map(|sector| sector.id);
    let inserted = store::insert_sector(connection, author.account, site.id, (&name, of_industry), now).await;
    let taken = |error: StoreError| if error.is_constraint("site_sectors_name_key") { SiteError::SectorTaken } else { error.into() };
    Ok(SiteSector { id: inserted.map_err(taken)?, name, industry_sector, created_at: now })
}

/// Takes a sector away from a site.
pub async fn delete(
    pool: &Pool,
    author: &Author<'_>,
    site: SiteId,
    sector: SiteSectorId,
    now: Timestamp,
) -> Result<DeletedSector, SiteError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        sites::store::lock_site(&mut tx, author.account, author.sight, site).await?.ok_or(SiteError::NotFound)?;
        let name = store::delete_sector(&mut tx, author.account, site, sector).await?.ok_or(SiteError::NotFound)?;
        let before = json!({"sector": sector, "name": name});
        record_in(&mut tx, author, "site.sector_deleted", site, before, json!({}), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(DeletedSector { id: sector })
    })
    .await
}
