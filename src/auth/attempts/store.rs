//! SQL of failed logins, and of where somebody has logged in before.

use super::model::Counter;
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::UserId,
};
use sqlx::PgConnection;

/// Locks counters, in the order of their names; makes those that are missing.
pub async fn lock_counters(connection: &mut PgConnection, sha256s: &[Vec<u8>], now: Timestamp) -> Result<Vec<Counter>, StoreError> {
    let counters = sqlx::query_as!(
        Counter,
        r#"
        insert into login_counters (counter_sha256, failures, last_failed_at)
        select name, 0, $2 from unnest($1::bytea[]) name order by name
        on conflict (counter_sha256) do update set failures = login_counters.failures
        returning counter_sha256 as sha256, failures, last_failed_at
        "#,
        sha256s,
        now,
    );
    Ok(counters.fetch_all(connection).await?)
}

/// Counts a failure on top of so many. The counter is locked.
pub async fn mark_failed(connection: &mut PgConnection, sha256: &[u8], failures_before: i32, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update login_counters set failures = $2::integer + 1, last_failed_at = $3 where counter_sha256 = $1",
        sha256,
        failures_before,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes one failure back.
pub async fn unmark_failed(connection: &mut PgConnection, sha256: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("update login_counters set failures = greatest(failures - 1, 0) where counter_sha256 = $1", sha256)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets all failures of a counter.
pub async fn delete_counter(connection: &mut PgConnection, sha256: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("delete from login_counters where counter_sha256 = $1", sha256).execute(connection).await?;
    Ok(())
}

/// Notes that somebody has logged in from there.
pub async fn mark_known(connection: &mut PgConnection, pair_sha256: &[u8], user: UserId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        insert into known_addresses (pair_sha256, user_id, last_seen_at) values ($1, $2, $3)
        on conflict (pair_sha256) do update set user_id = $2, last_seen_at = $3
        "#,
        pair_sha256,
        user.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether somebody has logged in from there after `since`.
pub async fn is_known(pool: &Pool, pair_sha256: &[u8], since: Timestamp) -> Result<bool, StoreError> {
    let known = sqlx::query_scalar!(
        r#"select exists (select from known_addresses where pair_sha256 = $1 and last_seen_at > $2) as "known!""#,
        pair_sha256,
        since,
    );
    Ok(known.fetch_one(pool).await?)
}

/// Deletes counters without a failure since then; at most `limit`. Gives how many.
pub async fn delete_old_counters(pool: &Pool, failed_before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from login_counters
        where counter_sha256 in (select counter_sha256 from login_counters where last_failed_at <= $1 order by last_failed_at limit $2)
        "#,
        failed_before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes addresses that nobody has logged in from since then; at most `limit`. Gives how many.
pub async fn delete_old_addresses(pool: &Pool, seen_before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from known_addresses
        where pair_sha256 in (select pair_sha256 from known_addresses where last_seen_at <= $1 order by last_seen_at limit $2)
        "#,
        seen_before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
