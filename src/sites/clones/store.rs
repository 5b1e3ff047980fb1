//! SQL of the addresses that keys were used from.

use super::rules::CLONES_MAX;
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, SiteId},
};
use sqlx::{PgConnection, PgExecutor};

/// Notes an address, unless it is noted or there are too many already.
pub async fn insert_clone(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    site: SiteId,
    (place, url): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        insert into site_clones (account_id, site_id, place, url, seen_at)
        select $1::bigint, $2::bigint, $3::text, $4::text, $5::timestamptz
        where (select count(*) from site_clones where account_id = $1 and site_id = $2) < $6
        on conflict do nothing
        "#,
        account.0,
        site.0,
        place,
        url,
        now,
        CLONES_MAX,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// An address that was noted.
#[derive(Debug)]
pub struct Clone {
    /// In the form in which addresses are compared.
    pub place: String,
    /// As it was first sent.
    pub url: String,
    /// When it was decided that it stays read-only.
    pub ignored_at: Option<Timestamp>,
}

/// The address at a place; without a place the oldest that nobody has decided about. The site is locked.
pub async fn find_clone(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    place: Option<&str>,
) -> Result<Option<Clone>, StoreError> {
    let clone = sqlx::query_as!(
        Clone,
        r#"
        select place, url, ignored_at
        from site_clones
        where account_id = $1 and site_id = $2 and (place = $3 or ($3::text is null and ignored_at is null))
        order by seen_at, place
        limit 1
        "#,
        account.0,
        site.0,
        place,
    );
    Ok(clone.fetch_optional(connection).await?)
}

/// Lets an address stay read-only without further notice.
pub async fn mark_ignored(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    place: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "update site_clones set ignored_at = $4 where account_id = $1 and site_id = $2 and place = $3 and ignored_at is null",
        account.0,
        site.0,
        place,
        now,
    );
    let done = done.execute(connection).await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// Forgets the address at a place, for the site is there now; without a place all of them, for the site has none.
pub async fn delete_clones_at(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    place: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from site_clones where account_id = $1 and site_id = $2 and ($3::text is null or place = $3)",
        account.0,
        site.0,
        place,
    )
    .execute(connection)
    .await?;
    Ok(())
}
