//! SQL of the keys.

use super::model::{KeyScope, SiteKeyView};
use crate::{
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, SiteId, SiteKeyId, UserId},
};
use sqlx::PgConnection;

/// Adds a key; only its hash and its last four characters are kept.
pub async fn insert_key(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    (key, scopes): (&str, &[KeyScope]),
    by: UserId,
    now: Timestamp,
) -> Result<SiteKeyView, StoreError> {
    let hash = crate::secrets::sha256(key);
    let scopes = scopes.iter().map(|scope| scope.as_str().to_owned()).collect::<Vec<_>>();
    let last_four = key.get(key.len().saturating_sub(4)..).unwrap_or("");
    let view = sqlx::query_as!(
        SiteKeyView,
        r#"
        insert into site_keys (account_id, site_id, key_sha256, last_four, created_by, created_at, scopes)
        values ($1, $2, $3, $4, $5, $6, $7)
        returning site_key_id as "id: SiteKeyId", last_four, created_at, expires_at, last_used_at, scopes as "scopes: Vec<KeyScope>"
        "#,
        account.0,
        site.0,
        hash.as_slice(),
        last_four,
        by.0,
        now,
        &scopes,
    )
    .fetch_one(connection)
    .await?;
    Ok(view)
}

/// Stops all keys of a site that work at `now`. Returns how many.
pub async fn mark_keys_revoked(connection: &mut PgConnection, account: AccountId, site: SiteId, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update site_keys set revoked_at = $3
        where account_id = $1 and site_id = $2 and revoked_at is null and (expires_at is null or expires_at > $3)
        "#,
        account.0,
        site.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Stops all keys of a site that work at `now` but the newest. Returns how many.
pub async fn mark_older_keys_revoked(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update site_keys set revoked_at = $3
        where account_id = $1 and site_id = $2 and revoked_at is null and (expires_at is null or expires_at > $3)
          and site_key_id < (
                select max(site_key_id) from site_keys
                where account_id = $1 and site_id = $2 and revoked_at is null and (expires_at is null or expires_at > $3))
        "#,
        account.0,
        site.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Lets the keys of a site that work at `now` work no longer than until `until`. Returns how many.
pub async fn mark_keys_expiring(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    until: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update site_keys set expires_at = least(expires_at, $3)
        where account_id = $1 and site_id = $2 and revoked_at is null and (expires_at is null or expires_at > $4)
        "#,
        account.0,
        site.0,
        until,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// One page of a living site's keys that work at `now`, newest first, and how many there are in all.
pub async fn list_keys(
    pool: &Pool,
    account: AccountId,
    site: SiteId,
    limit: i64,
    offset: i64,
    now: Timestamp,
) -> Result<(Vec<SiteKeyView>, i64), StoreError> {
    let keys = sqlx::query_as!(
        SiteKeyView,
        r#"
        select site_key_id as "id: SiteKeyId", last_four, created_at, expires_at, last_used_at, scopes as "scopes: Vec<KeyScope>"
        from site_keys
        where account_id = $1 and site_id = $2 and revoked_at is null and (expires_at is null or expires_at > $3)
        order by site_key_id desc
        limit $4 offset $5
        "#,
        account.0,
        site.0,
        now,
        limit,
        offset,
    )
    .fetch_all(pool)
    .await?;
    let count = match db::count_told_by_page(keys.len(), limit, offset) {
        Some(count) => count,
        None => count_keys(pool, account, site, now).await?,
    };
    Ok((keys, count))
}

async fn count_keys(pool: &Pool, account: AccountId, site: SiteId, now: Timestamp) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from site_keys
        where account_id = $1 and site_id = $2 and revoked_at is null and (expires_at is null or expires_at > $3)
        "#,
        account.0,
        site.0,
        now,
    )
    .fetch_one(pool)
    .await?;
    Ok(count)
}
