//! Signing in, staying signed in, and ending it.

pub use super::{
    authenticator::{Authenticator, AuthenticatorError, Desk, HashingError, Place},
    tokens::{NotSigned, TokenRefused, TokenSecrets},
};
use super::{
    members,
    mfa::{
        model::SecondCode,
        service::{Challenge, MfaError, challenge_in},
    },
    model::{Claims, Email, Holder, Opened, Password, Role, Term, TokenPair, Visit},
    passwords::{self, Match, NewPassword, PasswordFault},
    recovery::notices,
    rules::{self, Refresh},
    store::{self, NewSession, Rotation},
    users::{
        self,
        model::{Credentials, NewUser},
    },
};
use crate::{
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    clock::Timestamp,
    db::{self, MayCollide, Pool, StoreError},
    ids::{SessionId, UserId},
    secrets,
};
use serde_json::json;
use sqlx::PgConnection;

/// Sessions that one purge takes away at the most.
const SESSIONS_PURGED_MAX: i64 = 10_000;

/// Why a session was not started, refreshed or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The token opens nothing.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The user has no such living session.
    #[error("no such session")]
    Unknown,
    /// Ours to mend.
    #[error(transparent)]
    Signing(#[from] NotSigned),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for SessionError {
    fn is_collision(&self) -> bool {
        matches!(self, SessionError::Store(error) if error.is_collision())
    }
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such user, wrong password, or one who may not log in: all alike.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// He has failed too often to try again before so many seconds are over.
    #[error("too many failed attempts; the next one in {0} s")]
    TooSoon(u32),
    /// He has a second factor and showed no code.
    #[error("the second factor is missing")]
    CodeMissing,
    /// He has a second factor, and the code is wrong or was used before.
    #[error("the second factor is wrong")]
    CodeWrong,
    /// His second factor could not be asked for.
    #[error(transparent)]
    SecondFactor(MfaError),
    /// The user changed between comparing and letting in; worth one more try.
    #[error("the user was changed meanwhile")]
    Changed,
    /// The password was not compared.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The session was not started.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl LoginError {
    /// Whether somebody guessed wrong: what is counted against him.
    pub fn is_wrong_guess(&self) -> bool {
        match self {
            LoginError::InvalidCredentials | LoginError::CodeWrong | LoginError::Changed => true,
            LoginError::TooSoon(_)
            | LoginError::CodeMissing
            | LoginError::SecondFactor(_)
            | LoginError::Hashing(_)
            | LoginError::Session(_) => false,
        }
    }
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        LoginError::Session(error.into())
    }
}

impl MayCollide for LoginError {
    fn is_collision(&self) -> bool {
        match self {
            LoginError::Session(error) => error.is_collision(),
            LoginError::SecondFactor(error) => error.is_collision(),
            _ => false,
        }
    }
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordChangeError {
    /// The old password is not the present one.
    #[error("the old password is wrong")]
    WrongPassword,
    /// The new password may not become one.
    #[error(transparent)]
    Fault(#[from] PasswordFault),
    /// A password was not hashed or compared.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for PasswordChangeError {
    fn is_collision(&self) -> bool {
        matches!(self, PasswordChangeError::Store(error) if error.is_collision())
    }
}

/// Why a user was not added.
#[derive(Debug, thiserror::Error)]
pub enum NewUserError {
    /// A living user has the address.
    #[error("the address is taken")]
    EmailTaken,
    /// The database could not do it.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for NewUserError {
    fn from(error: StoreError) -> Self {
        if error.is_constraint("users_email_key") { NewUserError::EmailTaken } else { NewUserError::Store(error) }
    }
}

/// Somebody whose password was compared and is right.
#[derive(Debug, Clone)]
pub struct Proof {
    compared: Credentials,
    new_hash: Option<String>,
}

impl Proof {
    /// Whose password it was.
    pub fn holder(&self) -> Holder {
        self.compared.holder
    }
}

/// Compares address and password. Slow by design; call it before a transaction begins.
///
/// A user who does not exist, one who may not log in and a wrong password take the same time and give the same answer.
pub async fn prove(desk: Desk<'_>, place: Place, email: &Email, password: &Password) -> Result<Proof, LoginError> {
    let known = users::store::find_credentials(desk.pool, email).await?;
    let stored = known.as_ref().map(|known| known.password_hash.as_str());
    let found = desk.authenticator.compare_at(place, password, stored).await?;
    let may_log_in = |known: &Credentials| known.is_active && known.holder.role != Role::SystemBot;
    let compared = known.filter(may_log_in).ok_or(LoginError::InvalidCredentials)?;
    let new_hash = match found {
        Match::No => return Err(LoginError::InvalidCredentials),
        Match::Yes => None,
        Match::YesButOld => Some(desk.authenticator.hash(password).await?),
    };
    Ok(Proof { compared, new_hash })
}

/// Compares address and password of somebody who was deleted with his account; at the cost of [`prove`]. `None`: the password
/// is a living user's, whose account is not deleted.
pub async fn prove_deleted(desk: Desk<'_>, place: Place, email: &Email, password: &Password) -> Result<Option<Holder>, LoginError> {
    let Some(gone) = members::store::find_deleted_credentials(desk.pool, email).await? else {
        return prove(desk, place, email, password).await.map(|_| None);
    };
    let found = desk.authenticator.compare_at(place, password, Some(&gone.password_hash)).await?;
    if found != Match::No && gone.is_active { Ok(Some(gone.holder)) } else { Err(LoginError::InvalidCredentials) }
}

/// Compares the password of somebody who is signed in already. `None`: it is another.
pub async fn confirm<E: From<HashingError> + From<StoreError>>(
    desk: Desk<'_>,
    (user, email): (UserId, &Email),
    password: &Password,
) -> Result<Option<Credentials>, E> {
    let known = users::store::find_credentials(desk.pool, email).await?;
    let stored = known.as_ref().map(|known| known.password_hash.as_str());
    let found = desk.authenticator.compare(password, stored).await?;
    Ok(known.filter(|known| known.holder.user == user && found != Match::No))
}

/// All that somebody shows at the door.
#[derive(Debug, Clone, Copy)]
pub struct Entrance<'a> {
    /// His password, compared.
    pub proof: &'a Proof,
    /// A code of his second factor.
    pub code: Option<&'a SecondCode>,
    /// What his session is to be like.
    pub visit: &'a Visit,
}

/// Lets somebody in whose password was compared, and who shows a code where he has a second factor, in the caller's
/// transaction.
pub async fn log_in_in(
    connection: &mut PgConnection,
    authenticator: &Authenticator,
    Entrance { proof, code, visit }: Entrance<'_>,
    now: Timestamp,
) -> Result<Opened, LoginError> {
    match challenge_in(connection, authenticator.vault(), proof.holder(), code, now).await.map_err(LoginError::SecondFactor)? {
        Challenge::Passed => {}
        Challenge::CodeMissing => return Err(LoginError::CodeMissing),
        Challenge::CodeWrong => return Err(LoginError::CodeWrong),
    }
    // The row is asked again: a password that was changed after it was compared must open nothing.
    if !users::store::mark_login(connection, &proof.compared, proof.new_hash.as_deref(), now).await? {
        return Err(LoginError::Changed);
    }
    Ok(start_session_in(connection, authenticator, proof.compared.holder, visit, now).await?)
}

/// Starts a session in the caller's transaction.
pub async fn start_session_in(
    connection: &mut PgConnection,
    authenticator: &Authenticator,
    holder: Holder,
    visit: &Visit,
    now: Timestamp,
) -> Result<Opened, SessionError> {
    let session = SessionId(secrets::random_uuid());
    let issued = authenticator.issue(holder, session, Term { stay: visit.stay, started_at: now }, now)?;
    let row = NewSession {
        id: session,
        user: holder.user,
        stay: visit.stay,
        device: &visit.device,
        expires_at: issued.pair.refresh_expires_at,
        refresh_id: issued.refresh_id,
    };
    store::insert_session(connection, &row, now).await?;
    Ok(Opened { session, user: holder.user, tokens: issued.pair })
}

/// Gives a new pair for a refresh token. One that was used before, outside the grace, ends its whole session.
pub async fn refresh(desk: Desk<'_>, token: &str, origin: &Origin, now: Timestamp) -> Result<TokenPair, SessionError> {
    let claims = desk.authenticator.read_refresh(token, now)?;
    db::retried(async || refresh_once(desk, &claims, origin, now).await).await
}

async fn refresh_once(desk: Desk<'_>, claims: &Claims, origin: &Origin, now: Timestamp) -> Result<TokenPair, SessionError> {
    let mut tx = db::begin(desk.pool).await?;
    // Locked before the token is read: of two uses at once the second must see the first.
    let live = store::lock_session(&mut tx, claims.sid, claims.user_id, now).await?.ok_or(TokenRefused::Revoked)?;
    let token = store::find_refresh_token(&mut tx, claims.sid, claims.jti).await?;
    match rules::refresh(live.generation, token, now) {
        Refresh::Rotate { generation } => {
            let issued = desk.authenticator.issue(live.holder, claims.sid, live.term, now)?;
            let (session, used) = (claims.sid, claims.jti);
            let (token, expires_at) = (issued.refresh_id, issued.pair.refresh_expires_at);
            let rotation = Rotation { session, used, issued: token, generation, expires_at };
            store::rotate(&mut tx, &rotation, now).await?;
            tx.commit().await.map_err(StoreError::from)?;
            Ok(issued.pair)
        }
        Refresh::Reused => {
            store::revoke_session(&mut *tx, claims.user_id, claims.sid, "refresh_reused", now).await?;
            notices::session_reused_in(&mut tx, desk.outbox(), claims, now).await?;
            let entry = Entry {
                account: live.holder.account,
                action: "session.refresh_reused",
                target: format!("session:{}", claims.sid),
                before: json!({}),
                after: json!({ "user_id": claims.user_id, "revoked": true }),
                reason: None,
                at: now,
            };
            record_in(&mut tx, origin, &entry).await?;
            tx.commit().await.map_err(StoreError::from)?;
            Err(TokenRefused::Revoked.into())
        }
    }
}

/// Ends the sessions that the tokens name; those that are over stay over.
pub async fn log_out(pool: &Pool, tokens: &[Claims], now: Timestamp) -> Result<(), StoreError> {
    for claims in tokens {
        store::revoke_session(pool, claims.user_id, claims.sid, "logout", now).await?;
    }
    Ok(())
}

/// Ends one session of a user.
pub async fn end_session(pool: &Pool, user: UserId, session: SessionId, now: Timestamp) -> Result<(), SessionError> {
    let was_living = store::revoke_session(pool, user, session, "logout", now).await?;
    if was_living { Ok(()) } else { Err(SessionError::Unknown) }
}

/// Ends every session of a user. Gives how many.
pub async fn log_out_everywhere(pool: &Pool, user: UserId, now: Timestamp) -> Result<u64, StoreError> {
    db::retried(async || store::revoke_sessions(pool, user, None, "logout_all", now).await).await
}

/// Forgets sessions that were over long ago. Gives how many.
pub async fn purge_sessions(pool: &Pool, now: Timestamp) -> Result<u64, StoreError> {
    store::delete_over(pool, now - rules::session_kept(), SESSIONS_PURGED_MAX).await
}

/// A user's wish for another password.
#[derive(Debug, Clone)]
pub struct PasswordChange {
    /// He.
    pub user: UserId,
    /// His address.
    pub email: Email,
    /// The session that he asks from; it stays.
    pub session: SessionId,
    /// The present password.
    pub old: Password,
    /// The one from now on.
    pub new: NewPassword,
}

/// Changes a password and ends the user's other sessions. Gives how many those were.
pub async fn change_password(desk: Desk<'_>, change: &PasswordChange, origin: &Origin, now: Timestamp) -> Result<u64, PasswordChangeError> {
    let compared = confirm::<PasswordChangeError>(desk, (change.user, &change.email), &change.old).await?;
    let compared = compared.ok_or(PasswordChangeError::WrongPassword)?;
    passwords::check_password(&change.new, &change.email, desk.config.password_length_min)?;
    let new_hash = desk.authenticator.hash(&change.new.0).await?;
    let (compared, new_hash) = (&compared, &new_hash);
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        if !users::store::update_password(&mut tx, compared, new_hash, now).await? {
            return Err(PasswordChangeError::WrongPassword);
        }
        let ended = store::revoke_sessions(&mut *tx, change.user, Some(change.session), "password_changed", now).await?;
        let entry = Entry {
            account: compared.holder.account,
            action: "user.password_changed",
            target: format!("user:{}", change.user),
            before: json!({}),
            after: json!({ "sessions_ended": ended }),
            reason: None,
            at: now,
        };
        record_in(&mut tx, origin, &entry).await?;
        notices::password_changed_in(&mut tx, desk.outbox(), change.user, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(ended)
    })
    .await
}

/// Adds a user in the caller's transaction. A taken address leaves that transaction unusable.
pub async fn create_user_in(connection: &mut PgConnection, user: &NewUser, now: Timestamp) -> Result<UserId, NewUserError> {
    Ok(users::store::insert_user(connection, user, now).await?)
}
