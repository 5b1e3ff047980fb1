//! Sends tokens by mail, and gives what they are good for.

use super::{
    model::{Bearer, NewToken, Purpose},
    notices, store,
};
use crate::{
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    auth::{
        self,
        authenticator::{Desk, HashingError},
        model::{Email, Role},
        passwords::{self, NewPassword, PasswordFault},
        users,
    },
    clock::Timestamp,
    db::{self, MayCollide, Pool, StoreError},
    ids::UserId,
    mail::{
        letters,
        model::{Delivery, Mail, MailKind},
        service::Outbox,
    },
    secrets,
};
use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgConnection;

/// A token for another password ends after this.
const RESET_LIFE: TimeDelta = TimeDelta::hours(1);
/// One for the first password of somebody whom an admin added, who does not wait for it.
const WELCOME_LIFE: TimeDelta = TimeDelta::days(7);
/// One that proves an address.
const VERIFY_LIFE: TimeDelta = TimeDelta::hours(24);
/// Rows that one purge takes away at the most.
const PURGED_MAX: i64 = 10_000;

/// Why a token gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Not one of ours, used, ended, or for an address that is not his any more: all alike.
    #[error("the token is not good any more")]
    Invalid,
    /// The new password may not become one.
    #[error(transparent)]
    Fault(#[from] PasswordFault),
    /// The password was not hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for RecoveryError {
    fn is_collision(&self) -> bool {
        matches!(self, RecoveryError::Store(error) if error.is_collision())
    }
}

/// Sends a token for another password to that address, if it is a living user's.
///
/// For an unknown address the same statements run with the same sizes: a token that is nobody's and a mail that is withheld.
/// So neither the answer nor its time tells who is a customer. Of several wishes in one minute one mail is sent.
pub async fn ask_reset(desk: Desk<'_>, email: &Email, now: Timestamp) -> Result<(), StoreError> {
    let known = users::store::find_credentials(desk.pool, email).await?;
    let user = known.filter(|known| known.is_active && known.holder.role != Role::SystemBot).map(|known| known.holder.user);
    let delivery = if user.is_some() { Delivery::Send } else { Delivery::Withhold };
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let token = issue_in(&mut tx, (user, email.as_str()), Purpose::PasswordReset, RESET_LIFE, now).await?;
        let mail = Mail {
            kind: MailKind::PasswordReset,
            dedupe_key: format!("password_reset:{}:{}", secrets::sha256_hex(email.as_str()), now.timestamp() / 60),
            recipient: email.as_str(),
            letter: letters::password_reset(&desk.config.app_url, &token),
        };
        desk.outbox().enqueue_in(&mut tx, &mail, delivery, now).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Gives a user another password for his token, and ends all his sessions.
pub async fn reset(desk: Desk<'_>, token: &str, new: &NewPassword, origin: &Origin, now: Timestamp) -> Result<(), RecoveryError> {
    let sha256 = secrets::sha256(token);
    let bearer = store::find_bearer(desk.pool, &sha256, Purpose::PasswordReset, now).await?.ok_or(RecoveryError::Invalid)?;
    let email = Email::parse(&bearer.email).map_err(|_| RecoveryError::Invalid)?;
    passwords::check_password(new, &email, desk.config.password_length_min)?;
    let hash = desk.authenticator.hash(&new.0).await?;
    let (bearer, hash) = (&bearer, &hash);
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let is_his = store::mark_used(&mut tx, &sha256, now).await?
            && users::store::set_password(&mut tx, bearer.user, &bearer.email, hash, now).await?;
        if !is_his {
            return Err(RecoveryError::Invalid);
        }
        store::mark_all_used(&mut tx, bearer.user, Purpose::PasswordReset, now).await?;
        let ended = auth::store::revoke_sessions(&mut *tx, bearer.user, None, "password_changed", now).await?;
        record_of_in(&mut tx, bearer, "user.password_reset", json!({ "sessions_ended": ended }), origin, now).await?;
        notices::password_changed_in(&mut tx, desk.outbox(), bearer.user, now).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await
}

/// Notes that an address is its user's, for the token that was sent there.
pub async fn verify_email(pool: &Pool, token: &str, origin: &Origin, now: Timestamp) -> Result<(), RecoveryError> {
    let sha256 = secrets::sha256(token);
    let bearer = store::find_bearer(pool, &sha256, Purpose::VerifyEmail, now).await?.ok_or(RecoveryError::Invalid)?;
    let bearer = &bearer;
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if !store::mark_used(&mut tx, &sha256, now).await? {
            return Err(RecoveryError::Invalid);
        }
        users::store::mark_email_verified(&mut tx, bearer.user, &bearer.email, now).await?;
        record_of_in(&mut tx, bearer, "user.email_verified", json!({}), origin, now).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await
}

/// Sends another token to prove the address by. Those sent before stay good until one is used.
pub async fn resend_verification(desk: Desk<'_>, user: UserId, email: &str, now: Timestamp) -> Result<(), StoreError> {
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        send_verification_in(&mut tx, desk.outbox(), (user, email), now).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Sends a token to prove an address by, in the caller's transaction.
pub async fn send_verification_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    (user, email): (UserId, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let token = issue_in(connection, (Some(user), email), Purpose::VerifyEmail, VERIFY_LIFE, now).await?;
    let mail = Mail {
        kind: MailKind::VerifyEmail,
        dedupe_key: format!("verify_email:{user}:{}", now.timestamp() / 60),
        recipient: email,
        letter: letters::verify_email(outbox.app_url, &token),
    };
    outbox.enqueue_in(connection, &mail, Delivery::Send, now).await
}

/// Tells somebody that an admin made a user for him, with a token for his first password, in the caller's transaction.
pub async fn send_welcome_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    (user, email): (UserId, &str),
    account: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let token = issue_in(connection, (Some(user), email), Purpose::PasswordReset, WELCOME_LIFE, now).await?;
    let mail = Mail {
        kind: MailKind::Welcome,
        dedupe_key: format!("welcome:{user}"),
        recipient: email,
        letter: letters::welcome(outbox.app_url, &token, account),
    };
    outbox.enqueue_in(connection, &mail, Delivery::Send, now).await
}

/// Forgets tokens that have ended. Gives how many.
pub async fn purge(pool: &Pool, now: Timestamp) -> Result<u64, StoreError> {
    store::delete_expired(pool, now, PURGED_MAX).await
}

/// Writes a token down in the caller's transaction, and gives it to be mailed.
pub(in crate::auth) async fn issue_in(
    connection: &mut PgConnection,
    (user, email): (Option<UserId>, &str),
    purpose: Purpose,
    life: TimeDelta,
    now: Timestamp,
) -> Result<String, StoreError> {
    let token = secrets::random_token();
    let row = NewToken { sha256: secrets::sha256(&token), purpose, user, email, expires_at: now + life };
    store::insert_token(connection, &row, now).await?;
    Ok(token)
}

/// Records what a token did: whoever holds it acts for its user.
async fn record_of_in(
    connection: &mut PgConnection,
    bearer: &Bearer,
    action: &'static str,
    after: serde_json::Value,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), StoreError> {
    let target = format!("user:{}", bearer.user);
    let origin = Origin { actor: target.clone(), ..origin.clone() };
    let entry = Entry { account: bearer.account, action, target, before: json!({}), after, reason: None, at: now };
    record_in(connection, &origin, &entry).await.map(drop)
}
