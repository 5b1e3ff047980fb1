//! SQL of users.

use super::model::{Credentials, NewUser, ProfileChange};
use crate::{
    auth::model::{Email, Holder, Role},
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::{AccountId, UserId},
};
use sqlx::PgConnection;

/// The living user with that address.
pub async fn find_credentials(pool: &Pool, email: &Email) -> Result<Option<Credentials>, StoreError> {
    let row = sqlx::query!(
        r#"
        select user_id as "user_id: UserId", account_id as "account_id: AccountId", role as "role: Role", password_hash, is_active
        from users
        where email = $1 and deleted_at is null
        "#,
        email.as_str(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Credentials {
        holder: Holder { user: row.user_id, account: row.account_id, role: row.role },
        password_hash: row.password_hash,
        is_active: row.is_active,
    }))
}

/// Whether a living user has that address.
pub async fn is_email_taken(connection: &mut PgConnection, email: &Email) -> Result<bool, StoreError> {
    let taken =
        sqlx::query_scalar!(r#"select exists (select from users where email = $1 and deleted_at is null) as "taken!""#, email.as_str(),);
    Ok(taken.fetch_one(connection).await?)
}

/// Adds a user.
pub async fn insert_user(connection: &mut PgConnection, user: &NewUser, now: Timestamp) -> Result<UserId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into users (account_id, email, username, first_name, last_name, role, is_superuser, password_hash, email_verified_at, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
        returning user_id as "user_id: UserId"
        "#,
        user.account.0,
        user.email.as_str(),
        user.username,
        user.first_name,
        user.last_name,
        user.role.as_str(),
        user.is_superuser,
        user.password_hash,
        user.email_verified_at,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// Notes a login and replaces the hash where there is a new one, if the user still is who was compared. Gives whether he is.
pub async fn mark_login(
    connection: &mut PgConnection,
    compared: &Credentials,
    new_hash: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        update users set last_login_at = $4, password_hash = coalesce($3, password_hash)
        where user_id = $1 and password_hash = $2 and is_active and deleted_at is null
        "#,
        compared.holder.user.0,
        compared.password_hash,
        new_hash,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the hash that was compared. Gives whether it was still there.
pub async fn update_password(
    connection: &mut PgConnection,
    compared: &Credentials,
    new_hash: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        update users set password_hash = $3, updated_at = $4
        where user_id = $1 and password_hash = $2 and is_active and deleted_at is null
        "#,
        compared.holder.user.0,
        compared.password_hash,
        new_hash,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Changes what a user says of himself. Gives username, first and last name as they are now.
pub async fn update_profile(
    pool: &Pool,
    user: UserId,
    change: &ProfileChange,
    now: Timestamp,
) -> Result<Option<(String, String, String)>, StoreError> {
    let row = sqlx::query!(
        r#"
        update users
        set username = coalesce($2, username), first_name = coalesce($3, first_name), last_name = coalesce($4, last_name), updated_at = $5
        where user_id = $1 and deleted_at is null
        returning username, first_name, last_name
        "#,
        user.0,
        change.username,
        change.first_name,
        change.last_name,
        now,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (row.username, row.first_name, row.last_name)))
}

/// The address of a living user.
pub async fn find_email(connection: &mut PgConnection, user: UserId) -> Result<Option<String>, StoreError> {
    let email = sqlx::query_scalar!("select email from users where user_id = $1 and deleted_at is null", user.0);
    Ok(email.fetch_optional(connection).await?)
}

/// Gives a user another password, whatever the old one was; he got the token for it at that address, which proves it too.
/// Gives whether he may still be signed in and has that address.
pub async fn set_password(
    connection: &mut PgConnection,
    user: UserId,
    email: &str,
    hash: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        update users set password_hash = $3, email_verified_at = coalesce(email_verified_at, $4), updated_at = $4
        where user_id = $1 and email = $2 and is_active and deleted_at is null
        "#,
        user.0,
        email,
        hash,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a living user another address, which he has proven.
pub async fn update_email(connection: &mut PgConnection, user: UserId, email: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update users set email = $2, email_verified_at = $3, updated_at = $3 where user_id = $1 and is_active and deleted_at is null",
        user.0,
        email,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that the address is his.
pub async fn mark_email_verified(connection: &mut PgConnection, user: UserId, email: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update users set email_verified_at = coalesce(email_verified_at, $3), updated_at = $3 where user_id = $1 and email = $2 and deleted_at is null",
        user.0,
        email,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
