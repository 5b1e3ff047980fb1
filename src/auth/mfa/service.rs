//! Sets second factors up, asks for them at the door, and takes them away.

use super::{
    model::{Asker, Enrollment, RecoveryCodes, SecondCode, SecondFactor},
    rules, store,
};
use crate::{
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    auth::{
        authenticator::{Desk, HashingError},
        members,
        model::{Holder, Password},
        recovery::notices,
        service::confirm,
    },
    clock::Timestamp,
    db::{self, MayCollide, StoreError},
    ids::{AccountId, UserId},
    mail::letters::FactorChange,
    sealing::{NotOpened, Vault},
    secrets,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Why a second factor was not set up, changed or taken away.
#[derive(Debug, thiserror::Error)]
pub enum MfaError {
    /// The password is not the present one.
    #[error("the password is wrong")]
    WrongPassword,
    /// The code is wrong, or was used before.
    #[error("the code is wrong")]
    WrongCode,
    /// One is active already.
    #[error("a second factor is active")]
    AlreadyActive,
    /// None is set up, or none is active.
    #[error("no second factor is active")]
    NotActive,
    /// No such user in the account.
    #[error("no such user")]
    UnknownUser,
    /// The secret that sealed it is not configured any more; staff resets it.
    #[error("the second factor can't be read: {0}")]
    Sealed(#[from] NotOpened),
    /// The password was not compared.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for MfaError {
    fn is_collision(&self) -> bool {
        matches!(self, MfaError::Store(error) if error.is_collision())
    }
}

/// What a door asks of somebody with a right password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// He has no second factor, or has just shown it.
    Passed,
    /// He has one and showed nothing.
    CodeMissing,
    /// What he showed is wrong, or was used before.
    CodeWrong,
}

/// Asks for the second factor of somebody who has one, in the caller's transaction. A code that passes is used up by it.
pub async fn challenge_in(
    connection: &mut PgConnection,
    vault: &Vault,
    holder: Holder,
    code: Option<&SecondCode>,
    now: Timestamp,
) -> Result<Challenge, MfaError> {
    // Locked before the code is judged: of two logins with one code the second must see the first.
    let factor = store::lock_factor(connection, holder.user).await?.filter(|factor| factor.is_active);
    let Some(factor) = factor else { return Ok(Challenge::Passed) };
    let Some(code) = code else { return Ok(Challenge::CodeMissing) };
    match use_code_in(connection, vault, (holder.user, holder.account), (&factor, code), now).await {
        Ok(()) => Ok(Challenge::Passed),
        Err(MfaError::WrongCode) => Ok(Challenge::CodeWrong),
        Err(error) => Err(error),
    }
}

/// Makes a secret for somebody's app. It is not asked for at the login before a code of it was shown.
pub async fn enroll(desk: Desk<'_>, asker: &Asker, password: &Password, now: Timestamp) -> Result<Enrollment, MfaError> {
    confirm::<MfaError>(desk, (asker.user, &asker.email), password).await?.ok_or(MfaError::WrongPassword)?;
    let secret = secrets::random_bytes::<{ rules::SECRET_BYTES }>();
    let sealed = desk.authenticator.vault().seal(&place(asker.user), &secret).map_err(StoreError::from)?;
    let sealed = &sealed;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        if !store::insert_factor(&mut tx, asker.user, sealed, now).await? {
            return Err(MfaError::AlreadyActive);
        }
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await?;
    Ok(Enrollment { secret: rules::shown_secret(&secret), otpauth_uri: rules::otpauth_uri(&secret, &asker.email) })
}

/// Asks for the second factor from now on, for a code proves that the app has it. Gives the recovery codes.
pub async fn activate(
    desk: Desk<'_>,
    asker: &Asker,
    code: &SecondCode,
    origin: &Origin,
    now: Timestamp,
) -> Result<RecoveryCodes, MfaError> {
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let factor = store::lock_factor(&mut tx, asker.user).await?.ok_or(MfaError::NotActive)?;
        if factor.is_active {
            return Err(MfaError::AlreadyActive);
        }
        use_app_code_in(&mut tx, desk.authenticator.vault(), asker.user, (&factor, code), now).await?;
        store::mark_activated(&mut tx, asker.user, now).await?;
        let codes = new_recovery_codes_in(&mut tx, asker.user, now).await?;
        record_of_in(&mut tx, asker, "user.mfa_activated", json!({}), origin, now).await?;
        notices::second_factor_in(&mut tx, desk.outbox(), (asker.user, FactorChange::Activated), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(codes)
    })
    .await
}

/// Takes somebody's own second factor away, for his password and a code.
pub async fn disable(
    desk: Desk<'_>,
    asker: &Asker,
    (password, code): (&Password, &SecondCode),
    origin: &Origin,
    now: Timestamp,
) -> Result<(), MfaError> {
    confirm::<MfaError>(desk, (asker.user, &asker.email), password).await?.ok_or(MfaError::WrongPassword)?;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        spend_code_in(&mut tx, desk, asker, code, now).await?;
        store::delete_factor(&mut tx, asker.user).await?;
        record_of_in(&mut tx, asker, "user.mfa_disabled", json!({}), origin, now).await?;
        notices::second_factor_in(&mut tx, desk.outbox(), (asker.user, FactorChange::Removed), now).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await
}

/// Gives new recovery codes in the place of all there are, for the password and a code.
pub async fn renew_recovery_codes(
    desk: Desk<'_>,
    asker: &Asker,
    (password, code): (&Password, &SecondCode),
    origin: &Origin,
    now: Timestamp,
) -> Result<RecoveryCodes, MfaError> {
    confirm::<MfaError>(desk, (asker.user, &asker.email), password).await?.ok_or(MfaError::WrongPassword)?;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        spend_code_in(&mut tx, desk, asker, code, now).await?;
        let codes = new_recovery_codes_in(&mut tx, asker.user, now).await?;
        record_of_in(&mut tx, asker, "user.mfa_recovery_codes_renewed", json!({}), origin, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(codes)
    })
    .await
}

/// Takes the second factor of one of an account's people away, who has lost app and recovery codes. For developers, with a
/// reason.
pub async fn reset(
    desk: Desk<'_>,
    (account, user): (AccountId, UserId),
    reason: &str,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), MfaError> {
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        members::store::find_member(&mut tx, account, user).await?.ok_or(MfaError::UnknownUser)?;
        if !store::delete_factor(&mut tx, user).await? {
            return Err(MfaError::NotActive);
        }
        let target = format!("user:{user}");
        let (before, after) = (json!({ "mfa": true }), json!({ "mfa": false }));
        let reason = Some(reason.to_owned());
        let entry = Entry { account: Some(account), action: "user.mfa_reset", target, before, after, reason, at: now };
        record_in(&mut tx, origin, &entry).await?;
        notices::second_factor_in(&mut tx, desk.outbox(), (user, FactorChange::Removed), now).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    })
    .await
}

/// Uses a code of somebody's active second factor up.
async fn spend_code_in(
    connection: &mut PgConnection,
    desk: Desk<'_>,
    asker: &Asker,
    code: &SecondCode,
    now: Timestamp,
) -> Result<(), MfaError> {
    let factor = store::lock_factor(connection, asker.user).await?.filter(|factor| factor.is_active).ok_or(MfaError::NotActive)?;
    use_code_in(connection, desk.authenticator.vault(), (asker.user, asker.account), (&factor, code), now).await
}

/// Uses a code of the app or a recovery code up.
async fn use_code_in(
    connection: &mut PgConnection,
    vault: &Vault,
    (user, account): (UserId, Option<AccountId>),
    (factor, code): (&SecondFactor, &SecondCode),
    now: Timestamp,
) -> Result<(), MfaError> {
    if rules::is_of_an_app(code.0.expose_secret()) {
        return use_app_code_in(connection, vault, user, (factor, code), now).await;
    }
    let sha256 = rules::recovery_code_sha256(user, code.0.expose_secret());
    let left = store::use_recovery_code(connection, user, &sha256, now).await?.ok_or(MfaError::WrongCode)?;
    let target = format!("user:{user}");
    let origin = Origin { actor: target.clone(), request_id: None, client_address: None };
    let after = json!({ "recovery_codes_left": left });
    let entry = Entry { account, action: "user.mfa_recovery_code_used", target, before: json!({}), after, reason: None, at: now };
    record_in(connection, &origin, &entry).await?;
    Ok(())
}

async fn use_app_code_in(
    connection: &mut PgConnection,
    vault: &Vault,
    user: UserId,
    (factor, code): (&SecondFactor, &SecondCode),
    now: Timestamp,
) -> Result<(), MfaError> {
    let secret = vault.open(&place(user), &factor.sealed_secret)?;
    let step = rules::step_of(&secret, code.0.expose_secret(), factor.last_step, now).ok_or(MfaError::WrongCode)?;
    // Sealed anew each time, so that what a former secret sealed is under the present one after the next login.
    let sealed = vault.seal(&place(user), &secret).map_err(StoreError::from)?;
    store::mark_step(connection, user, step, &sealed).await?;
    Ok(())
}

async fn new_recovery_codes_in(connection: &mut PgConnection, user: UserId, now: Timestamp) -> Result<RecoveryCodes, StoreError> {
    let random = || rules::shown_recovery_code(&secrets::random_bytes::<{ rules::RECOVERY_CODE_BYTES }>());
    let recovery_codes = std::iter::repeat_with(random).take(rules::RECOVERY_CODES).collect::<Vec<_>>();
    let sha256s = recovery_codes.iter().map(|code| rules::recovery_code_sha256(user, code).to_vec()).collect::<Vec<_>>();
    store::replace_recovery_codes(connection, user, &sha256s, now).await?;
    Ok(RecoveryCodes { recovery_codes })
}

async fn record_of_in(
    connection: &mut PgConnection,
    asker: &Asker,
    action: &'static str,
    after: Value,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), StoreError> {
    let target = format!("user:{}", asker.user);
    let entry = Entry { account: asker.account, action, target, before: json!({}), after, reason: None, at: now };
    record_in(connection, origin, &entry).await.map(drop)
}

fn place(user: UserId) -> String {
    format!("second_factor:{user}")
}
