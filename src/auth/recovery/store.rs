//! SQL of tokens that come by mail.

use super::model::{Bearer, NewToken, Purpose};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::{AccountId, UserId},
};
use sqlx::PgConnection;

/// Writes a token down.
pub async fn insert_token(connection: &mut PgConnection, token: &NewToken<'_>, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into one_time_tokens (token_sha256, purpose, user_id, email, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)",
        token.sha256.as_slice(),
        token.purpose.as_str(),
        token.user.map(|user| user.0),
        token.email,
        now,
        token.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whom a token was sent to, if it is good at `now`, its user may sign in, and the address is still his.
pub async fn find_bearer(pool: &Pool, sha256: &[u8; 32], purpose: Purpose, now: Timestamp) -> Result<Option<Bearer>, StoreError> {
    let bearer = sqlx::query_as!(
        Bearer,
        r#"
        select u.user_id as "user: UserId", u.account_id as "account: AccountId", t.email
        from one_time_tokens t
        join users u on u.user_id = t.user_id
        where t.token_sha256 = $1 and t.purpose = $2 and t.used_at is null and t.expires_at > $3
          and u.email = t.email and u.is_active and u.deleted_at is null
        "#,
        sha256.as_slice(),
        purpose.as_str(),
        now,
    );
    Ok(bearer.fetch_optional(pool).await?)
}

/// Who gets which address for a token, if it is good at `now` and its user may sign in.
pub async fn find_future_address(pool: &Pool, sha256: &[u8; 32], now: Timestamp) -> Result<Option<Bearer>, StoreError> {
    let bearer = sqlx::query_as!(
        Bearer,
        r#"
        select u.user_id as "user: UserId", u.account_id as "account: AccountId", t.email
        from one_time_tokens t
        join users u on u.user_id = t.user_id
        where t.token_sha256 = $1 and t.purpose = 'change_email' and t.used_at is null and t.expires_at > $2
          and u.is_active and u.deleted_at is null
        "#,
        sha256.as_slice(),
        now,
    );
    Ok(bearer.fetch_optional(pool).await?)
}

/// Uses a token up. Gives whether it was still unused: of two at once one is told no.
pub async fn mark_used(connection: &mut PgConnection, sha256: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update one_time_tokens set used_at = $2 where token_sha256 = $1 and used_at is null and expires_at > $2",
        sha256.as_slice(),
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Uses up all of a user's tokens of a purpose.
pub async fn mark_all_used(connection: &mut PgConnection, user: UserId, purpose: Purpose, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update one_time_tokens set used_at = $3 where user_id = $1 and purpose = $2 and used_at is null",
        user.0,
        purpose.as_str(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes tokens that ended before that; at most `limit`. Gives how many.
pub async fn delete_expired(pool: &Pool, ended_before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from one_time_tokens
        where token_sha256 in (select token_sha256 from one_time_tokens where expires_at < $1 order by expires_at limit $2)
        "#,
        ended_before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
