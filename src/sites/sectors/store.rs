//! SQL of the sectors that sites cover.

use super::model::SiteSector;
use crate::{
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, IndustrySectorId, SiteId, SiteSectorId},
    sites::industries::model::IndustrySector,
};
use sqlx::PgConnection;

/// One page of a living site's sectors, oldest first, and how many there are in all.
pub async fn list_sectors(
    pool: &Pool,
    account: AccountId,
    site: SiteId,
    limit: i64,
    offset: i64,
) -> Result<(Vec<SiteSector>, i64), StoreError> {
    let rows = sqlx::query!(
        r#"
        select s.site_sector_id as "id: SiteSectorId", s.name, s.created_at,
               i.industry_sector_id as "of_industry?: IndustrySectorId", i.slug as "slug?", i.name as "sector_name?"
        from site_sectors s
        left join industry_sectors i on i.industry_sector_id = s.industry_sector_id
        where s.account_id = $1 and s.site_id = $2
        order by s.site_sector_id
        limit $3 offset $4
        "#,
        account.0,
        site.0,
        limit,
        offset,
    )
    .fetch_all(pool)
    .await?;
    let count = match db::count_told_by_page(rows.len(), limit, offset) {
        Some(count) => count,
        None => count_sectors(&mut *pool.acquire().await?, account, site).await?,
    };
    let sectors = rows.into_iter().map(|row| {
        let industry_sector = row.of_industry.zip(row.slug).zip(row.sector_name);
        SiteSector {
            id: row.id,
            name: row.name,
            industry_sector: industry_sector.map(|((id, slug), name)| IndustrySector { id, slug, name }),
            created_at: row.created_at,
        }
    });
    Ok((sectors.collect(), count))
}

/// How many sectors a site has. Exact only while the site is locked.
pub async fn count_sectors(connection: &mut PgConnection, account: AccountId, site: SiteId) -> Result<i64, StoreError> {
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from site_sectors where account_id = $1 and site_id = $2"#, account.0, site.0);
    Ok(count.fetch_one(connection).await?)
}

/// Adds a sector. The constraint `site_sectors_name_key` refuses a name that the site has, in whichever spelling.
pub async fn insert_sector(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    (name, of_industry): (&str, Option<IndustrySectorId>),
    now: Timestamp,
) -> Result<SiteSectorId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into site_sectors (account_id, site_id, industry_sector_id, name, created_at)
        values ($1, $2, $3, $4, $5)
        returning site_sector_id as "id: SiteSectorId"
        "#,
        account.0,
        site.0,
        of_industry.map(|sector| sector.0),
        name,
        now,
    );
    Ok(id.fetch_one(connection).await?)
}

/// Takes a sector away. Gives its name; nothing where the site has none of that number.
pub async fn delete_sector(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    sector: SiteSectorId,
) -> Result<Option<String>, StoreError> {
    let name = sqlx::query_scalar!(
        "delete from site_sectors where account_id = $1 and site_id = $2 and site_sector_id = $3 returning name",
        account.0,
        site.0,
        sector.0,
    );
    Ok(name.fetch_optional(connection).await?)
}

/// Makes own names of all of a site's sectors: its industry is another one now.
pub async fn mark_own_names(connection: &mut PgConnection, account: AccountId, site: SiteId) -> Result<(), StoreError> {
    sqlx::query!("update site_sectors set industry_sector_id = null where account_id = $1 and site_id = $2", account.0, site.0)
        .execute(connection)
        .await?;
    Ok(())
}
