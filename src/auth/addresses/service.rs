//! Sends the token for another address, and changes it.

use crate::{
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    auth::{
        authenticator::{Desk, HashingError},
        model::{Email, Password},
        recovery::{
            self,
            model::{Bearer, Purpose},
            service::issue_in,
        },
        service::confirm,
        users,
    },
    clock::Timestamp,
    db::{self, MayCollide, StoreError},
    ids::UserId,
    mail::{
        letters,
        model::{Delivery, Mail, MailKind},
    },
    secrets,
};
use chrono::TimeDelta;
use serde_json::json;

/// A token ends after this.
const LIFE: TimeDelta = TimeDelta::hours(24);

/// Why an address was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The password is not the present one.
    #[error("the password is wrong")]
    WrongPassword,
    /// It is his address already.
    #[error("it is the present address")]
    Same,
    /// The token is none of ours, used, or has ended.
    #[error("the token is not good any more")]
    Invalid,
    /// A living user has the address by now.
    #[error("the address is taken")]
    Taken,
    /// The password was not compared.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database could not do it.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for AddressError {
    fn from(error: StoreError) -> Self {
        if error.is_constraint("users_email_key") { AddressError::Taken } else { AddressError::Store(error) }
    }
}

impl MayCollide for AddressError {
    fn is_collision(&self) -> bool {
        matches!(self, AddressError::Store(error) if error.is_collision())
    }
}

/// Somebody's wish for another address.
#[derive(Clone, Debug)]
pub struct AddressChange {
    /// He.
    pub user: UserId,
    /// His address.
    pub present: Email,
    /// The one from its confirmation on.
    pub new: Email,
    /// His password.
    pub password: Password,
}

/// Sends a token to the new address and word to the old one. Tokens sent before stop working: a mistyped address must not
/// become his later.
pub async fn ask(desk: Desk<'_>, change: &AddressChange, now: Timestamp) -> Result<(), AddressError> {
    confirm::<AddressError>(desk, (change.user, &change.present), &change.password).await?.ok_or(AddressError::WrongPassword)?;
    if change.new == change.present {
        return Err(AddressError::Same);
    }
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        recovery::store::mark_all_used(&mut tx, change.user, Purpose::ChangeEmail, now).await?;
        let (outbox, recipient) = (desk.outbox(), change.new.as_str());
        let token = issue_in(&mut tx, (Some(change.user), recipient), Purpose::ChangeEmail, LIFE, now).await?;
        let cause = secrets::sha256_hex(&token);
        let letter = letters::change_email(outbox.app_url, &token);
        let mail = Mail { kind: MailKind::ChangeEmail, dedupe_key: format!("change_email:{cause}"), recipient, letter };
        outbox.enqueue_in(&mut tx, &mail, Delivery::Send, now).await?;
        let (recipient, letter) = (change.present.as_str(), letters::email_change_asked(outbox.app_url));
        let notice = Mail { kind: MailKind::EmailChanging, dedupe_key: format!("email_changing:{cause}"), recipient, letter };
        outbox.enqueue_in(&mut tx, &notice, Delivery::Send, now).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await
}

/// Changes the address for the token that was sent to the new one, which proves it too. Sessions go on. Where the address was
/// taken meanwhile nothing is changed, and the token stays good.
pub async fn change(desk: Desk<'_>, token: &str, origin: &Origin, now: Timestamp) -> Result<(), AddressError> {
    let sha256 = secrets::sha256(token);
    let found = recovery::store::find_future_address(desk.pool, &sha256, now).await?;
    let Bearer { user, account, email } = &found.ok_or(AddressError::Invalid)?;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        if !recovery::store::mark_used(&mut tx, &sha256, now).await? {
            return Err(AddressError::Invalid);
        }
        let former = users::store::find_email(&mut tx, *user).await?.ok_or(AddressError::Invalid)?;
        users::store::update_email(&mut tx, *user, email, now).await?;
        let target = format!("user:{user}");
        let origin = Origin { actor: target.clone(), ..origin.clone() };
        // Without the addresses: the log outlives whoever had them (H).
        let (action, before, after) = ("user.email_changed", json!({}), json!({ "email_verified": true }));
        record_in(&mut tx, &origin, &Entry { account: *account, action, target, before, after, reason: None, at: now }).await?;
        let outbox = desk.outbox();
        let dedupe_key = format!("email_changed:{}", secrets::sha256_hex(token));
        let letter = letters::email_changed(outbox.app_url);
        let mail = Mail { kind: MailKind::EmailChanged, dedupe_key, recipient: &former, letter };
        outbox.enqueue_in(&mut tx, &mail, Delivery::Send, now).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await
}
