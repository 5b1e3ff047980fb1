//! SQL of sites and of who sees them.

use super::model::{DeletedSite, Sight, Site, SiteEdit};
use crate::{
    clock::Timestamp,
    db::{self, StoreError},
    ids::{AccountId, SiteId, UserId},
};
use sqlx::{PgConnection, PgPool};

/// A sight as two parameters that narrow a query: one site only, and one user's sites only.
fn narrowing(sight: Sight) -> (Option<i64>, Option<i64>) {
    match sight {
        Sight::All => (None, None),
        Sight::GrantedTo(user) => (None, Some(user.0)),
        Sight::Only(site) => (Some(site.0), None),
    }
}

/// The living sites that somebody sees; a macro, because a checked query must be a literal. `$1` is the account, `$2` and
/// `$3` are the [`narrowing`].
macro_rules! seen_sites {
    ($rest:tt, $account:expr, $sight:expr $(, $argument:expr)*) => {{
        let (only, granted_to) = narrowing($sight);
        sqlx::query_as!(
            Site,
            r#"
            select site_id as "id: SiteId", name, slug, url, is_active, created_at, updated_at
            from sites
            where account_id = $1 and deleted_at is null and ($2::bigint is null or site_id = $2)
              and ($3::bigint is null or exists (
                    select 1 from site_access
                    where site_access.account_id = sites.account_id and site_access.site_id = sites.site_id and site_access.user_id = $3))
            "# + $rest,
            $account.0,
            only,
            granted_to
            $(, $argument)*
        )
    }};
}

/// One page of the sites that somebody sees, oldest first, and how many there are in all.
pub async fn list_sites(pool: &PgPool, account: AccountId, sight: Sight, limit: i64, offset: i64) -> Result<(Vec<Site>, i64), StoreError> {
    let sites = seen_sites!("order by site_id limit $4 offset $5", account, sight, limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(sites.len(), limit, offset) {
        Some(count) => count,
        None => count_seen_sites(pool, account, sight).await?,
    };
    Ok((sites, count))
}

async fn count_seen_sites(pool: &PgPool, account: AccountId, sight: Sight) -> Result<i64, StoreError> {
    let (only, granted_to) = narrowing(sight);
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from sites
        where account_id = $1 and deleted_at is null and ($2::bigint is null or site_id = $2)
          and ($3::bigint is null or exists (
                select 1 from site_access
                where site_access.account_id = sites.account_id and site_access.site_id = sites.site_id and site_access.user_id = $3))
        "#,
        account.0,
        only,
        granted_to,
    )
    .fetch_one(pool)
    .await?;
    Ok(count)
}

/// A living site, if he who asks sees it.
pub async fn find_site(pool: &PgPool, account: AccountId, sight: Sight, site: SiteId) -> Result<Option<Site>, StoreError> {
    Ok(seen_sites!("and site_id = $4", account, sight, site.0).fetch_optional(pool).await?)
}

/// A living site, if he who asks sees it, locked until the transaction ends.
pub async fn lock_site(connection: &mut PgConnection, account: AccountId, sight: Sight, site: SiteId) -> Result<Option<Site>, StoreError> {
    Ok(seen_sites!("and site_id = $4 for no key update", account, sight, site.0).fetch_optional(connection).await?)
}

/// A deleted site that can still be restored at `now`, locked until the transaction ends.
pub async fn lock_deleted_site(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    now: Timestamp,
) -> Result<Option<Site>, StoreError> {
    let site = sqlx::query_as!(
        Site,
        r#"
        select site_id as "id: SiteId", name, slug, url, is_active, created_at, updated_at
        from sites
        where account_id = $1 and site_id = $2 and deleted_at is not null and restore_until > $3
        for no key update
        "#,
        account.0,
        site.0,
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(site)
}

/// How many living sites an account has. Exact only while the account is locked.
pub async fn count_sites(connection: &mut PgConnection, account: AccountId) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from sites where account_id = $1 and deleted_at is null"#, account.0)
        .fetch_one(connection)
        .await?;
    Ok(count)
}

/// The words of living sites that are `stem` or begin with it and a dash. A stem has no wildcards: see `slug_of`.
pub async fn list_slugs_like(connection: &mut PgConnection, account: AccountId, stem: &str) -> Result<Vec<String>, StoreError> {
    let slugs = sqlx::query_scalar!(
        "select slug from sites where account_id = $1 and deleted_at is null and (slug = $2 or slug like $2 || '-%')",
        account.0,
        stem,
    )
    .fetch_all(connection)
    .await?;
    Ok(slugs)
}

/// Adds a site. The constraint `sites_slug_key` refuses a word that another living site has.
pub async fn insert_site(
    connection: &mut PgConnection,
    account: AccountId,
    name: &str,
    slug: &str,
    url: Option<&str>,
    now: Timestamp,
) -> Result<Site, StoreError> {
    let site = sqlx::query_as!(
        Site,
        r#"
        insert into sites (account_id, name, slug, url, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $5)
        returning site_id as "id: SiteId", name, slug, url, is_active, created_at, updated_at
        "#,
        account.0,
        name,
        slug,
        url,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(site)
}

/// Lets a user see a site.
pub async fn insert_access(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    user: UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into site_access (account_id, site_id, user_id, granted_at) values ($1, $2, $3, $4) on conflict do nothing",
        account.0,
        site.0,
        user.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what an edit changes; the site is locked.
pub async fn update_site(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    edit: &SiteEdit,
    now: Timestamp,
) -> Result<Site, StoreError> {
    let url = edit.url.as_ref().map(|url| url.0.as_deref());
    let site = sqlx::query_as!(
        Site,
        r#"
        update sites
        set name = coalesce($3, name), url = case when $4 then $5 else url end, is_active = coalesce($6, is_active), updated_at = $7
        where account_id = $1 and site_id = $2 and deleted_at is null
        returning site_id as "id: SiteId", name, slug, url, is_active, created_at, updated_at
        "#,
        account.0,
        site.0,
        edit.name,
        url.is_some(),
        url.flatten(),
        edit.is_active,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(site)
}

/// Marks a site deleted, which frees its word.
pub async fn mark_deleted(connection: &mut PgConnection, account: AccountId, deleted: &DeletedSite, by: UserId) -> Result<(), StoreError> {
    let done = sqlx::query!(
        r#"
        update sites set deleted_at = $3, deleted_by = $4, restore_until = $5, updated_at = $3
        where account_id = $1 and site_id = $2 and deleted_at is null
        "#,
        account.0,
        deleted.id.0,
        deleted.deleted_at,
        by.0,
        deleted.restore_until,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// Takes the mark away again. The constraint `sites_slug_key` refuses when the word was taken meanwhile.
pub async fn mark_restored(connection: &mut PgConnection, account: AccountId, site: SiteId, now: Timestamp) -> Result<Site, StoreError> {
    let site = sqlx::query_as!(
        Site,
        r#"
        update sites set deleted_at = null, deleted_by = null, restore_until = null, updated_at = $3
        where account_id = $1 and site_id = $2 and deleted_at is not null and restore_until > $3
        returning site_id as "id: SiteId", name, slug, url, is_active, created_at, updated_at
        "#,
        account.0,
        site.0,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(site)
}

/// Deletes for good what can't be restored any more, at most `limit` sites; keys and access go with them. Of all
/// accounts: the scheduler's. Leaves alone what another scheduler is deleting. Returns how many.
pub async fn delete_overdue(connection: &mut PgConnection, limit: i64, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from sites
        where (account_id, site_id) in (
            select account_id, site_id from sites
            where deleted_at is not null and restore_until <= $1
            order by restore_until
            limit $2
            for update skip locked)
        "#,
        now,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
