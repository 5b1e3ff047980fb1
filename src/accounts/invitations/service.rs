//! Invites, sends again, revokes, accepts; each under the account's lock, like all that changes its people.

use super::{
    model::{Invitation, NewInvitation},
    rules::{Acceptance, LIFE},
    store,
};
use crate::{
    accounts::{
        people::{
            model::Manager,
            rules::{self, Forbidden, SeatLimitReached},
            service::{self as people, PeopleError},
        },
        store::lock_account,
    },
    audit::{
        model::{Entry, Origin},
        service::record_in as append_in,
    },
    auth::{
        self,
        authenticator::{Desk, HashingError},
        model::{Device, Email, Holder, Opened, Role, Stay, Visit},
        passwords::{self, PasswordFault},
        service::{NewUserError, SessionError},
        users::model::NewUser,
    },
    clock::Timestamp,
    db::{self, MayCollide, Pool, StoreError},
    ids::{AccountId, InvitationId},
    mail::{
        letters,
        model::{Delivery, Letter, Mail, MailKind},
        service::Outbox,
    },
    secrets,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Why nobody was invited.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// What holds for all changes of people.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// He belongs to the account already.
    #[error("he is here already")]
    AlreadyHere,
    /// An open invitation to that address is under way.
    #[error("he is invited already")]
    AlreadyInvited,
}

impl From<StoreError> for InvitationError {
    fn from(error: StoreError) -> Self {
        InvitationError::People(error.into())
    }
}

impl From<Forbidden> for InvitationError {
    fn from(forbidden: Forbidden) -> Self {
        InvitationError::People(forbidden.into())
    }
}

impl MayCollide for InvitationError {
    fn is_collision(&self) -> bool {
        matches!(self, InvitationError::People(error) if error.is_collision())
    }
}

/// Why nobody came in by an invitation.
#[derive(Debug, thiserror::Error)]
pub enum AcceptanceError {
    /// Not one of ours, accepted, revoked, replaced or ended: all alike.
    #[error("the invitation is not good any more")]
    Invalid,
    /// The password may not become one.
    #[error(transparent)]
    Fault(#[from] PasswordFault),
    /// The plan was changed for a smaller one meanwhile.
    #[error(transparent)]
    Seats(SeatLimitReached),
    /// A living user has the address.
    #[error("the address is taken")]
    EmailTaken,
    /// The password was not hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The session was not started.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What was just written can't be read.
    #[error("the new user can't be read")]
    Incomplete,
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NewUserError> for AcceptanceError {
    fn from(error: NewUserError) -> Self {
        match error {
            NewUserError::EmailTaken => AcceptanceError::EmailTaken,
            NewUserError::Store(error) => AcceptanceError::Store(error),
        }
    }
}

impl MayCollide for AcceptanceError {
    fn is_collision(&self) -> bool {
        match self {
            AcceptanceError::Store(error) => error.is_collision(),
            AcceptanceError::Session(error) => error.is_collision(),
            _ => false,
        }
    }
}

/// Invites somebody by mail. Takes a seat until it is answered or ends.
pub async fn invite(
    desk: Desk<'_>,
    manager: &Manager<'_>,
    (email, role): (&Email, Role),
    now: Timestamp,
) -> Result<Invitation, InvitationError> {
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let house = people::enter_in(&mut tx, manager).await?;
        rules::may_recruit(house.role, role)?;
        if auth::members::store::find_member_by_email(&mut tx, manager.account, email).await?.is_some() {
            return Err(InvitationError::AlreadyHere);
        }
        match store::find_by_email(&mut tx, manager.account, email.as_str(), now).await? {
            Some(open) if !open.is_expired => return Err(InvitationError::AlreadyInvited),
            Some(ended) => store::mark_revoked(&mut tx, manager.account, ended.id, now).await?,
            None => {}
        }
        people::check_seat_in(&mut tx, &house.account, now).await?;
        let token = secrets::random_token();
        let (token_sha256, expires_at) = (secrets::sha256(&token), now + LIFE);
        let row = NewInvitation { account: manager.account, email, role, invited_by: manager.user, token_sha256, expires_at };
        let id = store::insert_invitation(&mut tx, &row, now).await?;
        let letter = letters::invitation(&desk.config.app_url, &token, &house.account.name, role.as_str());
        send_in(&mut tx, desk.outbox(), (letter, email.as_str()), &token_sha256, now).await?;
        record_in(&mut tx, manager, "invitation.sent", id, json!({"role": role}), now).await?;
        finish(tx, manager.account, id, now).await
    })
    .await
}

/// Sends an invitation again, with another token and more time; the one before opens nothing any more.
pub async fn resend(desk: Desk<'_>, manager: &Manager<'_>, id: InvitationId, now: Timestamp) -> Result<Invitation, InvitationError> {
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let house = people::enter_in(&mut tx, manager).await?;
        let invitation = store::find_invitation(&mut tx, manager.account, id, now).await?.ok_or(PeopleError::NotFound)?;
        rules::may_recruit(house.role, invitation.role)?;
        if invitation.is_expired {
            // It has given its seat back and needs one again.
            people::check_seat_in(&mut tx, &house.account, now).await?;
        }
        let token = secrets::random_token();
        let token_sha256 = secrets::sha256(&token);
        store::update_token(&mut tx, manager.account, id, (token_sha256, now + LIFE), now).await?;
        let letter = letters::invitation(&desk.config.app_url, &token, &house.account.name, invitation.role.as_str());
        send_in(&mut tx, desk.outbox(), (letter, &invitation.email), &token_sha256, now).await?;
        record_in(&mut tx, manager, "invitation.resent", id, json!({"role": invitation.role}), now).await?;
        finish(tx, manager.account, id, now).await
    })
    .await
}

/// Takes an invitation back, which frees its seat.
pub async fn revoke(pool: &Pool, manager: &Manager<'_>, id: InvitationId, now: Timestamp) -> Result<Invitation, InvitationError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let house = people::enter_in(&mut tx, manager).await?;
        let invitation = store::find_invitation(&mut tx, manager.account, id, now).await?.ok_or(PeopleError::NotFound)?;
        rules::may_recruit(house.role, invitation.role)?;
        store::mark_revoked(&mut tx, manager.account, id, now).await?;
        record_in(&mut tx, manager, "invitation.revoked", id, json!({"role": invitation.role}), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(invitation)
    })
    .await
}

/// An acceptance whose password may become one and is hashed.
#[derive(Debug)]
pub struct Prepared {
    acceptance: Acceptance,
    password_hash: String,
}

/// Looks at the token and hashes the password. Call it before a transaction begins.
pub async fn prepare(desk: Desk<'_>, acceptance: Acceptance, now: Timestamp) -> Result<Prepared, AcceptanceError> {
    let mut connection = desk.pool.acquire().await.map_err(StoreError::from)?;
    let offer = store::find_offer(&mut connection, &secrets::sha256(&acceptance.token), now).await?.ok_or(AcceptanceError::Invalid)?;
    // No connection is kept while a password is hashed.
    drop(connection);
    let email = Email::parse(&offer.email).map_err(|_| AcceptanceError::Invalid)?;
    passwords::check_password(&acceptance.password, &email, desk.config.password_length_min)?;
    let password_hash = desk.authenticator.hash(&acceptance.password.0).await?;
    Ok(Prepared { acceptance, password_hash })
}

/// Makes the user and his first session in the caller's transaction. His address is proven: the token came there.
pub async fn accept_in(
    connection: &mut PgConnection,
    desk: Desk<'_>,
    prepared: &Prepared,
    (device, origin): (&Device, &Origin),
    now: Timestamp,
) -> Result<Opened, AcceptanceError> {
    let Prepared { acceptance, password_hash } = prepared;
    let token_sha256 = secrets::sha256(&acceptance.token);
    let offer = store::find_offer(connection, &token_sha256, now).await?.ok_or(AcceptanceError::Invalid)?;
    let account = lock_account(connection, offer.account).await?.filter(|row| row.deleted_at.is_none()).ok_or(AcceptanceError::Invalid)?;
    // Asked again under the lock: of two who accept at once the second finds it answered.
    let offer = store::find_offer(connection, &token_sha256, now).await?.ok_or(AcceptanceError::Invalid)?;
    // Its own seat is the one that he takes.
    people::check_room_in(connection, &account, 0, now).await.map_err(|error| match error {
        PeopleError::Seats(reached) => AcceptanceError::Seats(reached),
        PeopleError::Store(error) => AcceptanceError::Store(error),
        _ => AcceptanceError::Invalid,
    })?;
    let email = Email::parse(&offer.email).map_err(|_| AcceptanceError::Invalid)?;
    let user = NewUser {
        account: offer.account,
        username: acceptance.username.clone().unwrap_or_else(|| email.local_part().to_owned()),
        email,
        first_name: acceptance.first_name.clone(),
        last_name: acceptance.last_name.clone(),
        role: offer.role,
        is_superuser: false,
        email_verified_at: Some(now),
        password_hash: password_hash.clone(),
    };
    let user = auth::service::create_user_in(connection, &user, now).await?;
    store::mark_accepted(connection, &offer, user, now).await?;
    let origin = Origin { actor: format!("user:{user}"), ..origin.clone() };
    let after = json!({"user_id": user, "role": offer.role});
    append_in(connection, &origin, &entry(offer.account, "invitation.accepted", offer.id, after, now)).await?;
    let visit = Visit { stay: Stay::Usual, device: device.clone() };
    let holder = Holder { user, account: Some(offer.account), role: offer.role };
    Ok(auth::service::start_session_in(connection, desk.authenticator, holder, &visit, now).await?)
}

async fn send_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    (letter, recipient): (Letter, &str),
    token_sha256: &[u8; 32],
    now: Timestamp,
) -> Result<(), StoreError> {
    // Each token is a cause of its own: the one before opens nothing any more, so its mail must not stand for this one's.
    let token: String = token_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let mail = Mail { kind: MailKind::Invitation, dedupe_key: format!("invitation:{token}"), recipient, letter };
    outbox.enqueue_in(connection, &mail, Delivery::Send, now).await
}

/// Commits, and gives the invitation as it is now.
async fn finish(mut tx: db::Tx, account: AccountId, id: InvitationId, now: Timestamp) -> Result<Invitation, InvitationError> {
    let invitation = store::find_invitation(&mut tx, account, id, now).await?.ok_or(PeopleError::NotFound)?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(invitation)
}

async fn record_in(
    connection: &mut PgConnection,
    manager: &Manager<'_>,
    action: &'static str,
    id: InvitationId,
    after: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    append_in(connection, manager.origin, &entry(manager.account, action, id, after, now)).await.map(drop)
}

fn entry(account: AccountId, action: &'static str, id: InvitationId, after: Value, now: Timestamp) -> Entry {
    Entry { account: Some(account), action, target: format!("invitation:{id}"), before: json!({}), after, reason: None, at: now }
}
