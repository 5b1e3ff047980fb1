//! SQL of the industries.

use super::model::{Industry, IndustrySector, IndustryWord, Named};
use crate::{
    db::{self, Pool, StoreError},
    ids::{IndustryId, IndustrySectorId},
};
use sqlx::PgExecutor;

/// One page of the industries with all their sectors, and how many industries there are.
pub async fn list_industries(pool: &Pool, limit: i64, offset: i64) -> Result<(Vec<Industry>, i64), StoreError> {
    let words = sqlx::query_as!(
        IndustryWord,
        r#"select industry_id as "id: IndustryId", slug, name from industries order by industry_id limit $1 offset $2"#,
        limit,
        offset,
    );
    let words = words.fetch_all(pool).await?;
    let count = match db::count_told_by_page(words.len(), limit, offset) {
        Some(count) => count,
        None => sqlx::query_scalar!(r#"select count(*) as "count!" from industries"#).fetch_one(pool).await?,
    };
    let mut industries = words.into_iter().map(|word| Industry { word, sectors: Vec::new() }).collect::<Vec<_>>();
    let wanted = industries.iter().map(|industry| industry.word.id.0).collect::<Vec<_>>();
    let sectors = sqlx::query!(
        r#"
        select industry_id as "industry: IndustryId", industry_sector_id as "id: IndustrySectorId", slug, name
        from industry_sectors
        where industry_id = any($1)
        order by industry_sector_id
        "#,
        &wanted,
    );
    for row in sectors.fetch_all(pool).await? {
        if let Some(industry) = industries.iter_mut().find(|industry| industry.word.id == row.industry) {
            industry.sectors.push(IndustrySector { id: row.id, slug: row.slug, name: row.name });
        }
    }
    Ok((industries, count))
}

/// The number of an industry by its number or its word.
pub async fn find_industry(executor: impl PgExecutor<'_>, named: &Named) -> Result<Option<IndustryId>, StoreError> {
    let (number, slug) = named.parts();
    let id =
        sqlx::query_scalar!(r#"select industry_id as "id: IndustryId" from industries where industry_id = $1 or slug = $2"#, number, slug);
    Ok(id.fetch_optional(executor).await?)
}

/// A sector of an industry by its number or its word.
pub async fn find_sector(executor: impl PgExecutor<'_>, industry: IndustryId, named: &Named) -> Result<Option<IndustrySector>, StoreError> {
    let (number, slug) = named.parts();
    let sector = sqlx::query_as!(
        IndustrySector,
        r#"
        select industry_sector_id as "id: IndustrySectorId", slug, name
        from industry_sectors
        where industry_id = $1 and (industry_sector_id = $2 or slug = $3)
        "#,
        industry.0,
        number,
        slug,
    );
    Ok(sector.fetch_optional(executor).await?)
}
