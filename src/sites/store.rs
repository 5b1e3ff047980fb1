//! SQL of sites and of who sees them.

use super::{
    clones::model::UrlConflict,
    industries::model::IndustryWord,
    model::{DeletedSite, Sight, Site, SiteEdit},
};
use crate::{
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, IndustryId, SiteId, UserId},
};
use sqlx::PgConnection;

/// A sight as two parameters that narrow a query: one site only, and one user's sites only.
pub(super) fn narrowing(sight: Sight) -> (Option<i64>, Option<i64>) {
    match sight {
        Sight::All => (None, None),
        Sight::GrantedTo(user) => (None, Some(user.0)),
        Sight::Only(site) => (Some(site.0), None),
    }
}

/// A site as the query gives it; its industry's columns are missing together.
struct SiteRow {
    id: SiteId,
    name: String,
    slug: String,
    url: Option<String>,
    is_active: bool,
    industry_id: Option<IndustryId>,
    industry_slug: Option<String>,
    industry_name: Option<String>,
    older_sites: i64,
    sectors_count: i64,
    clone_url: Option<String>,
    clone_seen_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<SiteRow> for Site {
    fn from(row: SiteRow) -> Self {
        let industry = row.industry_id.zip(row.industry_slug).zip(row.industry_name);
        Site {
            id: row.id,
            name: row.name,
            slug: row.slug,
            url: row.url,
            is_active: row.is_active,
            is_frozen: false,
            older_sites: row.older_sites,
            industry: industry.map(|((id, slug), name)| IndustryWord { id, slug, name }),
            sectors_count: row.sectors_count,
            url_conflict: row.clone_url.zip(row.clone_seen_at).map(|(url, seen_at)| UrlConflict { url, seen_at }),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The living sites that somebody sees; a macro, because a checked query must be a literal. `$1` is the account, `$2` and
/// `$3` are the [`narrowing`].
macro_rules! seen_sites {
    ($rest:tt, $account:expr, $sight:expr $(, $argument:expr)*) => {{
        let (only, granted_to) = narrowing($sight);
        sqlx::query_as!(
            SiteRow,
            r#"
            select sites.site_id as "id: SiteId", sites.name, sites.slug, sites.url, sites.is_active,
                   industries.industry_id as "industry_id?: IndustryId", industries.slug as "industry_slug?", industries.name as "industry_name?",
                   (select count(*) from sites older
                    where older.account_id = sites.account_id and older.deleted_at is null and older.site_id < sites.site_id) as "older_sites!",
                   (select count(*) from site_sectors s where s.account_id = sites.account_id and s.site_id = sites.site_id) as "sectors_count!",
                   clone.url as "clone_url?", clone.seen_at as "clone_seen_at?", sites.created_at, sites.updated_at
            from sites
            left join industries on industries.industry_id = sites.industry_id
            left join lateral (
                select url, seen_at from site_clones c
                where c.account_id = sites.account_id and c.site_id = sites.site_id and c.ignored_at is null
                order by seen_at, place
                limit 1) clone on true
            where sites.account_id = $1 and sites.deleted_at is null and ($2::bigint is null or sites.site_id = $2)
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
pub async fn list_sites(pool: &Pool, account: AccountId, sight: Sight, limit: i64, offset: i64) -> Result<(Vec<Site>, i64), StoreError> {
    let sites = seen_sites!("order by sites.site_id limit $4 offset $5", account, sight, limit, offset).fetch_all(pool).await?;
    let sites = sites.into_iter().map(Site::from).collect::<Vec<_>>();
    let count = match db::count_told_by_page(sites.len(), limit, offset) {
        Some(count) => count,
        None => count_seen_sites(pool, account, sight).await?,
    };
    Ok((sites, count))
}

async fn count_seen_sites(pool: &Pool, account: AccountId, sight: Sight) -> Result<i64, StoreError> {
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
pub async fn find_site(pool: &Pool, account: AccountId, sight: Sight, site: SiteId) -> Result<Option<Site>, StoreError> {
    Ok(seen_sites!("and sites.site_id = $4", account, sight, site.0).fetch_optional(pool).await?.map(Site::from))
}

/// A living site, if he who asks sees it, locked until the transaction ends.
pub async fn lock_site(connection: &mut PgConnection, account: AccountId, sight: Sight, site: SiteId) -> Result<Option<Site>, StoreError> {
    let site = seen_sites!("and sites.site_id = $4 for no key update of sites", account, sight, site.0).fetch_optional(connection).await?;
    Ok(site.map(Site::from))
}

/// A living site as the transaction has left it; an error where there is none.
pub async fn get_site(connection: &mut PgConnection, account: AccountId, site: SiteId) -> Result<Site, StoreError> {
    Ok(seen_sites!("and sites.site_id = $4", account, Sight::All, site.0).fetch_one(connection).await?.into())
}

/// The number of a deleted site that can still be restored at `now`, locked until the transaction ends.
pub async fn lock_deleted_site(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    now: Timestamp,
) -> Result<Option<SiteId>, StoreError> {
    let site = sqlx::query_scalar!(
        r#"
        select site_id as "id: SiteId"
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

/// A site to be added, with its word.
#[derive(Debug)]
pub struct NewSite<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its word.
    pub slug: &'a str,
    /// Its home address.
    pub url: Option<&'a str>,
    /// What it is about.
    pub industry: Option<IndustryId>,
}

/// Adds a site. The constraint `sites_slug_key` refuses a word that another living site has.
pub async fn insert_site(
    connection: &mut PgConnection,
    account: AccountId,
    site: &NewSite<'_>,
    now: Timestamp,
) -> Result<SiteId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into sites (account_id, name, slug, url, industry_id, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $6)
        returning site_id as "id: SiteId"
        "#,
        account.0,
        site.name,
        site.slug,
        site.url,
        site.industry.map(|industry| industry.0),
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
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

/// Writes what an edit changes; the site is locked. `industry` is the edit's, looked up.
pub async fn update_site(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    (edit, industry): (&SiteEdit, Option<Option<IndustryId>>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let url = edit.url.as_ref().map(|url| url.0.as_deref());
    let done = sqlx::query!(
        r#"
        update sites
        set name = coalesce($3, name), url = case when $4 then $5 else url end, is_active = coalesce($6, is_active),
            industry_id = case when $7 then $8 else industry_id end, updated_at = $9
        where account_id = $1 and site_id = $2 and deleted_at is null
        "#,
        account.0,
        site.0,
        edit.name,
        url.is_some(),
        url.flatten(),
        edit.is_active,
        industry.is_some(),
        industry.flatten().map(|industry| industry.0),
        now,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
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
pub async fn mark_restored(connection: &mut PgConnection, account: AccountId, site: SiteId, now: Timestamp) -> Result<(), StoreError> {
    let done = sqlx::query!(
        r#"
        update sites set deleted_at = null, deleted_by = null, restore_until = null, updated_at = $3
        where account_id = $1 and site_id = $2 and deleted_at is not null and restore_until > $3
        "#,
        account.0,
        site.0,
        now,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// Deletes for good what can't be restored any more, at most `limit` sites; what hangs on them goes with them. Of all
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

/// Deletes all of an account's sites for good, living ones too; what hangs on them goes with them.
pub async fn delete_all(connection: &mut PgConnection, account: AccountId) -> Result<(), StoreError> {
    sqlx::query!("delete from sites where account_id = $1", account.0).execute(connection).await?;
    Ok(())
}
