//! SQL of sessions and refresh tokens; users have theirs in `users/store.rs`.

use super::{
    model::{Device, Holder, Role, SessionView, Stay, Term},
    rules::KnownToken,
};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::{AccountId, SessionId, UserId},
};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A session that is about to exist.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// Its number.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// How long it lasts.
    pub stay: Stay,
    /// Where it was started.
    pub device: &'a Device,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
    /// Its first refresh token.
    pub refresh_id: Uuid,
}

/// Adds a session with its first refresh token.
pub async fn insert_session(connection: &mut PgConnection, session: &NewSession<'_>, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with session as (
            insert into sessions (session_id, user_id, remember_me, client_address, user_agent, created_at, last_refreshed_at, expires_at)
            values ($1, $2, $3, $4, $5, $6, $6, $7)
            returning session_id
        )
        insert into refresh_tokens (token_id, session_id, generation, issued_at)
        select $8, session_id, 0, $6 from session
        "#,
        session.id.0,
        session.user.0,
        session.stay == Stay::Remembered,
        session.device.client_address,
        session.device.user_agent,
        now,
        session.expires_at,
        session.refresh_id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A living session of a user who may be in it.
#[derive(Debug, Clone, Copy)]
pub struct LiveSession {
    /// Its user as he stands now.
    pub holder: Holder,
    /// How often it was rotated.
    pub generation: i32,
    /// How long it may go on.
    pub term: Term,
}

/// Locks a session that is neither over nor revoked and whose user may be signed in.
pub async fn lock_session(
    connection: &mut PgConnection,
    session: SessionId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<LiveSession>, StoreError> {
    let row = sqlx::query!(
        r#"
        select u.user_id as "user_id: UserId", u.account_id as "account_id: AccountId", u.role as "role: Role", s.generation, s.remember_me, s.created_at
        from sessions s
        join users u on u.user_id = s.user_id
        where s.session_id = $1 and s.user_id = $2 and s.revoked_at is null and s.expires_at > $3
          and u.is_active and u.deleted_at is null and u.role <> 'system_bot'
        for update of s
        "#,
        session.0,
        user.0,
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| LiveSession {
        holder: Holder { user: row.user_id, account: row.account_id, role: row.role },
        generation: row.generation,
        term: Term { stay: if row.remember_me { Stay::Remembered } else { Stay::Usual }, started_at: row.created_at },
    }))
}

/// A refresh token of a session, unless it was forgotten.
pub async fn find_refresh_token(connection: &mut PgConnection, session: SessionId, token: Uuid) -> Result<Option<KnownToken>, StoreError> {
    let token = sqlx::query_as!(
        KnownToken,
        "select generation, rotated_at from refresh_tokens where session_id = $1 and token_id = $2",
        session.0,
        token,
    );
    Ok(token.fetch_optional(connection).await?)
}

/// One refresh token given for another.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// The session.
    pub session: SessionId,
    /// The token that was shown.
    pub used: Uuid,
    /// The token that is given.
    pub issued: Uuid,
    /// The generation of the given one, and of the session from now on.
    pub generation: i32,
    /// When the session ends unless it is used again.
    pub expires_at: Timestamp,
}

/// Carries a rotation out, and forgets the tokens that could only be replays: those two generations back.
pub async fn rotate(connection: &mut PgConnection, rotation: &Rotation, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with used as (
            update refresh_tokens set rotated_at = coalesce(rotated_at, $6) where session_id = $1 and token_id = $2
        ), forgotten as (
            delete from refresh_tokens where session_id = $1 and generation < $4 - 1
        ), session as (
            update sessions set generation = $4, last_refreshed_at = $6, expires_at = greatest(expires_at, $5) where session_id = $1
        )
        insert into refresh_tokens (token_id, session_id, generation, issued_at) values ($3, $1, $4, $6)
        "#,
        rotation.session.0,
        rotation.used,
        rotation.issued,
        rotation.generation,
        rotation.expires_at,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends one session of a user. Gives whether it was living.
pub async fn revoke_session(
    executor: impl PgExecutor<'_>,
    user: UserId,
    session: SessionId,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update sessions set revoked_at = $4, revoked_reason = $3 where user_id = $1 and session_id = $2 and revoked_at is null and expires_at > $4",
        user.0,
        session.0,
        reason,
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all living sessions of a user, but the kept one. Gives how many.
pub async fn revoke_sessions(
    executor: impl PgExecutor<'_>,
    user: UserId,
    kept: Option<SessionId>,
    reason: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update sessions set revoked_at = $4, revoked_reason = $3
        where user_id = $1 and session_id is distinct from $2 and revoked_at is null and expires_at > $4
        "#,
        user.0,
        kept.map(|session| session.0),
        reason,
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}

/// One page of a user's living sessions, newest first.
pub async fn list_sessions(
    pool: &Pool,
    user: UserId,
    current: SessionId,
    page: (i64, i64),
    now: Timestamp,
) -> Result<Vec<SessionView>, StoreError> {
    let (limit, offset) = page;
    let sessions = sqlx::query_as!(
        SessionView,
        r#"
        select session_id as "id: SessionId", session_id = $2 as "is_current!", remember_me, client_address, user_agent,
               created_at, last_refreshed_at, expires_at
        from sessions
        where user_id = $1 and revoked_at is null and expires_at > $3
        order by created_at desc, session_id
        limit $4 offset $5
        "#,
        user.0,
        current.0,
        now,
        limit,
        offset,
    );
    Ok(sessions.fetch_all(pool).await?)
}

/// How many living sessions a user has.
pub async fn count_sessions(pool: &Pool, user: UserId, now: Timestamp) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sessions where user_id = $1 and revoked_at is null and expires_at > $2"#,
        user.0,
        now,
    );
    Ok(count.fetch_one(pool).await?)
}

/// Deletes sessions that were over before that, with their tokens; at most `limit`. Gives how many.
pub async fn delete_over(pool: &Pool, over_before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from sessions
        where session_id in (
            select session_id from sessions
            where coalesce(revoked_at, expires_at) < $1
            order by coalesce(revoked_at, expires_at)
            limit $2)
        "#,
        over_before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Takes everything personal out of an account's users and ends their sessions; the rows stay, for the ledger and the log
/// name them (H).
pub async fn anonymise_users(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!("delete from sessions where user_id in (select user_id from users where account_id = $1)", account.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("delete from second_factors where user_id in (select user_id from users where account_id = $1)", account.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("delete from known_addresses where user_id in (select user_id from users where account_id = $1)", account.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("delete from one_time_tokens where user_id in (select user_id from users where account_id = $1)", account.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        r#"
        update users set email = 'deleted-' || user_id || '@deleted.invalid', username = 'deleted', first_name = '', last_name = '', password_hash = '!',
                         is_active = false, deleted_at = coalesce(deleted_at, $2), restore_until = coalesce(restore_until, $2), purged_at = $2, updated_at = $2
        where account_id = $1
        "#,
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
