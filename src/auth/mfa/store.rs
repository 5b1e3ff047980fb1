//! SQL of second factors and recovery codes. Whoever judges a code has the factor's row locked.

use super::model::{FactorView, SecondFactor};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::UserId,
};
use sqlx::PgConnection;

/// Locks a user's second factor.
pub async fn lock_factor(connection: &mut PgConnection, user: UserId) -> Result<Option<SecondFactor>, StoreError> {
    let factor = sqlx::query_as!(
        SecondFactor,
        r#"
        select sealed_secret, activated_at is not null as "is_active!", last_step
        from second_factors
        where user_id = $1
        for update
        "#,
        user.0,
    );
    Ok(factor.fetch_optional(connection).await?)
}

/// What a user sees of his active second factor.
pub async fn find_view(pool: &Pool, user: UserId) -> Result<Option<FactorView>, StoreError> {
    let view = sqlx::query_as!(
        FactorView,
        r#"
        select true as "is_active!", f.activated_at,
               (select count(*) from recovery_codes r where r.user_id = f.user_id and r.used_at is null) as "recovery_codes_left!"
        from second_factors f
        where f.user_id = $1 and f.activated_at is not null
        "#,
        user.0,
    );
    Ok(view.fetch_optional(pool).await?)
}

/// Writes a new secret, which is not asked for yet, in the place of one that never was. Gives false where one is active.
pub async fn insert_factor(connection: &mut PgConnection, user: UserId, sealed_secret: &[u8], now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        insert into second_factors (user_id, sealed_secret, created_at, last_step) values ($1, $2, $3, 0)
        on conflict (user_id) do update set sealed_secret = $2, created_at = $3, last_step = 0
        where second_factors.activated_at is null
        "#,
        user.0,
        sealed_secret,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes from when on a second factor is asked for.
pub async fn mark_activated(connection: &mut PgConnection, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!("update second_factors set activated_at = $2 where user_id = $1 and activated_at is null", user.0, now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes the step whose code was used, with the secret as it is sealed now.
pub async fn mark_step(connection: &mut PgConnection, user: UserId, step: i64, sealed_secret: &[u8]) -> Result<(), StoreError> {
    sqlx::query!(
        "update second_factors set last_step = $2, sealed_secret = $3 where user_id = $1 and last_step < $2",
        user.0,
        step,
        sealed_secret,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a second factor with its recovery codes. Gives whether it was active.
pub async fn delete_factor(connection: &mut PgConnection, user: UserId) -> Result<bool, StoreError> {
    let was_active =
        sqlx::query_scalar!(r#"delete from second_factors where user_id = $1 returning activated_at is not null as "was_active!""#, user.0);
    Ok(was_active.fetch_optional(connection).await?.unwrap_or(false))
}

/// Puts new recovery codes in the place of all there are.
pub async fn replace_recovery_codes(
    connection: &mut PgConnection,
    user: UserId,
    sha256s: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!("delete from recovery_codes where user_id = $1", user.0).execute(&mut *connection).await?;
    sqlx::query!(
        "insert into recovery_codes (user_id, code_sha256, created_at) select $1, code, $3 from unnest($2::bytea[]) code",
        user.0,
        sha256s,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Uses a recovery code up. Gives how many are left; `None` where there is no such unused code.
pub async fn use_recovery_code(
    connection: &mut PgConnection,
    user: UserId,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let done = sqlx::query!(
        "update recovery_codes set used_at = $3 where user_id = $1 and code_sha256 = $2 and used_at is null",
        user.0,
        sha256.as_slice(),
        now,
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let left = sqlx::query_scalar!(r#"select count(*) as "left!" from recovery_codes where user_id = $1 and used_at is null"#, user.0);
    Ok(Some(left.fetch_one(connection).await?))
}
