//! SQL of invitations.

use super::model::{Invitation, NewInvitation, Offer};
use crate::{
    auth::model::Role,
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, InvitationId, UserId},
};
use chrono::TimeDelta;
use sqlx::PgConnection;

/// What has ended is forgotten after this: it names somebody who may never have come.
const KEPT: TimeDelta = TimeDelta::days(30);

/// Selects the invitations of the account `$1` that nobody has answered; `$2` is the present.
macro_rules! unanswered {
    ($rest:tt, $account:expr, $now:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            Invitation,
            r#"
            select invitation_id as "id: InvitationId", email, role as "role: Role", invited_by as "invited_by: UserId", created_at, sent_at,
                   expires_at, expires_at <= $2 as "is_expired!"
            from invitations where account_id = $1 and accepted_at is null and revoked_at is null "# + $rest,
            $account.0,
            $now
            $(, $argument)*
        )
    };
}

/// One page of an account's unanswered invitations, oldest first, and how many there are.
pub async fn list_invitations(
    pool: &Pool,
    account: AccountId,
    (limit, offset): (i64, i64),
    now: Timestamp,
) -> Result<(Vec<Invitation>, i64), StoreError> {
    let page = unanswered!("order by invitation_id limit $3 offset $4", account, now, limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(page.len(), limit, offset) {
        Some(count) => count,
        None => count_unanswered(pool, account).await?,
    };
    Ok((page, count))
}

async fn count_unanswered(pool: &Pool, account: AccountId) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from invitations where account_id = $1 and accepted_at is null and revoked_at is null"#,
        account.0,
    );
    Ok(count.fetch_one(pool).await?)
}

/// An unanswered invitation.
pub async fn find_invitation(
    connection: &mut PgConnection,
    account: AccountId,
    invitation: InvitationId,
    now: Timestamp,
) -> Result<Option<Invitation>, StoreError> {
    Ok(unanswered!("and invitation_id = $3", account, now, invitation.0).fetch_optional(connection).await?)
}

/// The unanswered invitation to that address.
pub async fn find_by_email(
    connection: &mut PgConnection,
    account: AccountId,
    email: &str,
    now: Timestamp,
) -> Result<Option<Invitation>, StoreError> {
    Ok(unanswered!("and email = $3", account, now, email).fetch_optional(connection).await?)
}

/// How many seats invitations keep at `now`. Exact only while the account is locked.
pub async fn count_open(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from invitations
        where account_id = $1 and accepted_at is null and revoked_at is null and expires_at > $2
        "#,
        account.0,
        now,
    );
    Ok(count.fetch_one(connection).await?)
}

/// Adds an invitation.
pub async fn insert_invitation(
    connection: &mut PgConnection,
    invitation: &NewInvitation<'_>,
    now: Timestamp,
) -> Result<InvitationId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into invitations (account_id, email, role, token_sha256, invited_by, created_at, sent_at, expires_at)
        values ($1, $2, $3, $4, $5, $6, $6, $7)
        returning invitation_id as "id: InvitationId"
        "#,
        invitation.account.0,
        invitation.email.as_str(),
        invitation.role.as_str(),
        invitation.token_sha256.as_slice(),
        invitation.invited_by.0,
        now,
        invitation.expires_at,
    );
    Ok(id.fetch_one(connection).await?)
}

/// Gives an invitation another token, which ends the one before, and more time.
pub async fn update_token(
    connection: &mut PgConnection,
    account: AccountId,
    invitation: InvitationId,
    (token_sha256, expires_at): ([u8; 32], Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update invitations set token_sha256 = $3, expires_at = $4, sent_at = $5
        where account_id = $1 and invitation_id = $2 and accepted_at is null and revoked_at is null
        "#,
        account.0,
        invitation.0,
        token_sha256.as_slice(),
        expires_at,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes an invitation back.
pub async fn mark_revoked(
    connection: &mut PgConnection,
    account: AccountId,
    invitation: InvitationId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update invitations set revoked_at = $3
        where account_id = $1 and invitation_id = $2 and accepted_at is null and revoked_at is null
        "#,
        account.0,
        invitation.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes all of an account's invitations back.
pub async fn mark_all_revoked(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update invitations set revoked_at = $2 where account_id = $1 and accepted_at is null and revoked_at is null",
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a token offers at `now`, if it still does.
pub async fn find_offer(connection: &mut PgConnection, token_sha256: &[u8; 32], now: Timestamp) -> Result<Option<Offer>, StoreError> {
    let offer = sqlx::query_as!(
        Offer,
        r#"
        select invitation_id as "id: InvitationId", account_id as "account: AccountId", email, role as "role: Role"
        from invitations
        where token_sha256 = $1 and accepted_at is null and revoked_at is null and expires_at > $2
        "#,
        token_sha256.as_slice(),
        now,
    );
    Ok(offer.fetch_optional(connection).await?)
}

/// Notes whom an invitation became.
pub async fn mark_accepted(connection: &mut PgConnection, offer: &Offer, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update invitations set accepted_at = $4, accepted_as = $3 where account_id = $1 and invitation_id = $2",
        offer.account.0,
        offer.id.0,
        user.0,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes all of an account's invitations, answered or not: a purged account names nobody.
pub async fn delete_all(connection: &mut PgConnection, account: AccountId) -> Result<(), StoreError> {
    sqlx::query!("delete from invitations where account_id = $1", account.0).execute(connection).await?;
    Ok(())
}

/// Deletes what ended long before `now`. Gives how many.
pub async fn delete_ended(pool: &Pool, now: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("delete from invitations where least(accepted_at, revoked_at, expires_at) < $1", now - KEPT).execute(pool).await?;
    Ok(done.rows_affected())
}
