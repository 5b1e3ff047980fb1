//! SQL of an account's people. The account is locked by whoever changes or counts them.

use super::model::{Deletion, Purgeable, TeamMember};
use crate::{
    auth::{
        model::{Email, Holder, Role},
        users::model::Credentials,
    },
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, UserId},
};
use sqlx::{PgConnection, PgExecutor};

/// Selects people of the account `$1`; a macro, because a checked query must be a literal.
macro_rules! members {
    ($rest:tt, $account:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            TeamMember,
            r#"
            select user_id as "id: UserId", email, username, first_name, last_name, role as "role: Role", is_active,
                   email_verified_at is not null as "email_verified!", last_login_at, created_at, null::boolean as is_frozen,
                   seniors_of(account_id, user_id, 1000) as "seniors!"
            from users where account_id = $1 "# + $rest,
            $account.0
            $(, $argument)*
        )
    };
}

/// One page of an account's living people, oldest first, and how many there are.
pub async fn list_members(pool: &Pool, account: AccountId, limit: i64, offset: i64) -> Result<(Vec<TeamMember>, i64), StoreError> {
    let page = members!("and deleted_at is null order by user_id limit $2 offset $3", account, limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(page.len(), limit, offset) {
        Some(count) => count,
        None => count_members(pool, account).await?,
    };
    Ok((page, count))
}

/// Those of an account's living people who have these numbers.
pub async fn list_members_of(executor: impl PgExecutor<'_>, account: AccountId, users: &[i64]) -> Result<Vec<TeamMember>, StoreError> {
    Ok(members!("and deleted_at is null and user_id = any($2) order by user_id", account, users).fetch_all(executor).await?)
}

/// How many living people an account has. Exact only while the account is locked.
pub async fn count_members(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from users where account_id = $1 and deleted_at is null"#, account.0);
    Ok(count.fetch_one(executor).await?)
}

/// How many people with one of these roles can sign in. Exact only while the account is locked.
pub async fn count_active_with_role(connection: &mut PgConnection, account: AccountId, roles: &[String]) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from users where account_id = $1 and deleted_at is null and is_active and role = any($2)"#,
        account.0,
        roles,
    );
    Ok(count.fetch_one(connection).await?)
}

/// One of an account's living people.
pub async fn find_member(connection: &mut PgConnection, account: AccountId, user: UserId) -> Result<Option<TeamMember>, StoreError> {
    Ok(members!("and deleted_at is null and user_id = $2", account, user.0).fetch_optional(connection).await?)
}

/// A living one of an account's people with that address.
pub async fn find_member_by_email(
    connection: &mut PgConnection,
    account: AccountId,
    email: &Email,
) -> Result<Option<TeamMember>, StoreError> {
    Ok(members!("and deleted_at is null and email = $2", account, email.as_str()).fetch_optional(connection).await?)
}

/// The address of the account's first living owner.
pub async fn find_owner_email(connection: &mut PgConnection, account: AccountId) -> Result<Option<String>, StoreError> {
    let email = sqlx::query_scalar!(
        "select email from users where account_id = $1 and deleted_at is null and is_active and role = 'owner' order by user_id limit 1",
        account.0
    );
    Ok(email.fetch_optional(connection).await?)
}

/// One who was deleted by himself and can still come back at `now`.
pub async fn find_deleted(
    connection: &mut PgConnection,
    account: AccountId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<TeamMember>, StoreError> {
    let found = members!(
        "and deleted_at is not null and not deleted_with_account and purged_at is null and restore_until > $3 and user_id = $2",
        account,
        user.0,
        now
    );
    Ok(found.fetch_optional(connection).await?)
}

/// Writes what may be changed of one of them.
pub async fn update_member(
    connection: &mut PgConnection,
    account: AccountId,
    member: &TeamMember,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update users set role = $3, is_active = $4, first_name = $5, last_name = $6, updated_at = $7
        where account_id = $1 and user_id = $2 and deleted_at is null
        "#,
        account.0,
        member.id.0,
        member.role.as_str(),
        member.is_active,
        member.first_name,
        member.last_name,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes one softly, which frees his address and his seat.
pub async fn mark_deleted(
    connection: &mut PgConnection,
    account: AccountId,
    user: UserId,
    deletion: Deletion,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update users set deleted_at = $5, deleted_by = $3, restore_until = $4, updated_at = $5
        where account_id = $1 and user_id = $2 and deleted_at is null
        "#,
        account.0,
        user.0,
        deletion.by.0,
        deletion.restore_until,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a deletion back. The index `users_email_key` refuses when somebody has his address by now.
pub async fn mark_restored(connection: &mut PgConnection, account: AccountId, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update users set deleted_at = null, deleted_by = null, restore_until = null, updated_at = $3
        where account_id = $1 and user_id = $2 and deleted_at is not null and purged_at is null
        "#,
        account.0,
        user.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes all of an account's living people with it, and ends their sessions.
pub async fn mark_all_deleted(
    connection: &mut PgConnection,
    account: AccountId,
    deletion: Deletion,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with gone as (
            update users set deleted_at = $4, deleted_by = $2, restore_until = $3, deleted_with_account = true, updated_at = $4
            where account_id = $1 and deleted_at is null
            returning user_id
        )
        update sessions set revoked_at = $4, revoked_reason = 'user_deleted'
        where user_id in (select user_id from gone) and revoked_at is null
        "#,
        account.0,
        deletion.by.0,
        deletion.restore_until,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Brings back those who were deleted with their account. The index `users_email_key` refuses when an address is taken.
pub async fn mark_all_restored(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update users set deleted_at = null, deleted_by = null, restore_until = null, deleted_with_account = false, updated_at = $2
        where account_id = $1 and deleted_with_account and purged_at is null
        "#,
        account.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Who had that address when he was deleted with his account; the last one, where there were several.
pub async fn find_deleted_credentials(pool: &Pool, email: &Email) -> Result<Option<Credentials>, StoreError> {
    let row = sqlx::query!(
        r#"
        select user_id as "user_id: UserId", account_id as "account_id: AccountId", role as "role: Role", password_hash, is_active
        from users
        where email = $1 and deleted_with_account and purged_at is null
        order by deleted_at desc
        limit 1
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

/// One whose time to come back is over; those deleted with their account go with it. Passes over whom another scheduler has.
pub async fn lock_purgeable(connection: &mut PgConnection, now: Timestamp) -> Result<Option<Purgeable>, StoreError> {
    let found = sqlx::query_as!(
        Purgeable,
        r#"
        select user_id as "user: UserId", account_id as "account: AccountId"
        from users
        where deleted_at is not null and purged_at is null and not deleted_with_account and restore_until <= $1
        order by user_id
        limit 1
        for update skip locked
        "#,
        now,
    );
    Ok(found.fetch_optional(connection).await?)
}

/// Takes everything personal out of one; the row stays, for the ledger and the log name it (H).
pub async fn anonymise(connection: &mut PgConnection, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with sessions_gone as (
            delete from sessions where user_id = $1
        ), factor_gone as (
            delete from second_factors where user_id = $1
        ), addresses_gone as (
            delete from known_addresses where user_id = $1
        ), tokens_gone as (
            delete from one_time_tokens where user_id = $1
        )
        update users set email = 'deleted-' || user_id || '@deleted.invalid', username = 'deleted', first_name = '', last_name = '', password_hash = '!',
                         is_active = false, purged_at = $2, updated_at = $2
        where user_id = $1
        "#,
        user.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Where an account's living owners get mail.
pub async fn list_owner_emails(connection: &mut PgConnection, account: AccountId) -> Result<Vec<(UserId, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"select user_id as "user: UserId", email from users where account_id = $1 and deleted_at is null and is_active and role = 'owner' order by user_id"#,
        account.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user, row.email)).collect())
}
