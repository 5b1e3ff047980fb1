//! Makes, changes, deletes and restores people. Each change locks the account first: so seats and owners are counted by
//! one at a time, and he who was removed a moment ago removes nobody any more. Each has its audit row.

use super::{
    model::{Belongs, DeletedPerson, Manager, PersonChange},
    rules::{self, Forbidden, Recruit, SeatLimitReached, Tenancy},
};
use crate::{
    accounts::{
        invitations, service,
        store::{self as accounts, AccountRow},
    },
    audit::{
        model::{Entry, Origin},
        service::record_in as append_in,
    },
    auth::{
        self,
        authenticator::{Desk, HashingError},
        members::{
            model::{Deletion, TeamMember},
            store,
        },
        model::Role,
        passwords::{self, PasswordFault},
        service::NewUserError,
        users::model::NewUser,
    },
    clock::Timestamp,
    db::{self, MayCollide, Pool, StoreError, Tx},
    ids::{AccountId, UserId},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// What is stored of a password that nobody has chosen yet.
const NO_PASSWORD: &str = "!";

/// Why nobody was made, changed, deleted or restored.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// No such user in this account.
    #[error("no such user")]
    NotFound,
    /// He who asks was removed or suspended before his turn came.
    #[error("the caller may not act any more")]
    CallerGone,
    /// Not below him, or not his to give.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The account would be left without an owner.
    #[error("the account needs an owner")]
    LastOwner,
    /// All seats are taken.
    #[error(transparent)]
    Seats(#[from] SeatLimitReached),
    /// A living user has the address.
    #[error("the address is taken")]
    EmailTaken,
    /// A living user has the address of one who was deleted.
    #[error("the address was taken meanwhile")]
    EmailTakenMeanwhile,
    /// The password may not become one.
    #[error(transparent)]
    Fault(#[from] PasswordFault),
    /// The password was not hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NewUserError> for PeopleError {
    fn from(error: NewUserError) -> Self {
        match error {
            NewUserError::EmailTaken => PeopleError::EmailTaken,
            NewUserError::Store(error) => PeopleError::Store(error),
        }
    }
}

impl MayCollide for PeopleError {
    fn is_collision(&self) -> bool {
        matches!(self, PeopleError::Store(error) if error.is_collision())
    }
}

/// An account whose people are counted by nobody else, and the role of him who asks as it is now.
#[derive(Debug)]
pub struct House {
    /// The account's row, locked.
    pub account: AccountRow,
    /// The caller's present role.
    pub role: Role,
}

/// Locks the account and looks once more who is asking: the request was let in before the lock was had.
pub async fn enter_in(connection: &mut PgConnection, manager: &Manager<'_>) -> Result<House, PeopleError> {
    let account = accounts::lock_account(connection, manager.account).await?.filter(|row| row.deleted_at.is_none());
    let account = account.ok_or(PeopleError::NotFound)?;
    let role = match manager.belongs {
        Belongs::Elsewhere => manager.role,
        Belongs::Here => {
            let caller = store::find_member(connection, manager.account, manager.user).await?.filter(|caller| caller.is_active);
            caller.ok_or(PeopleError::CallerGone)?.role
        }
    };
    Ok(House { account, role })
}

/// Makes a user. Without a password he is told by mail to choose one.
pub async fn recruit(desk: Desk<'_>, manager: &Manager<'_>, recruit: &Recruit, now: Timestamp) -> Result<TeamMember, PeopleError> {
    let password_hash = match &recruit.password {
        None => NO_PASSWORD.to_owned(),
        Some(password) => {
            passwords::check_password(password, &recruit.email, desk.config.password_length_min)?;
            desk.authenticator.hash(&password.0).await?
        }
    };
    let password_hash = &password_hash;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let house = enter_in(&mut tx, manager).await?;
        rules::may_recruit(house.role, recruit.role)?;
        check_seat_in(&mut tx, &house.account, now).await?;
        let user = NewUser {
            account: manager.account,
            email: recruit.email.clone(),
            username: recruit.username.clone().unwrap_or_else(|| recruit.email.local_part().to_owned()),
            first_name: recruit.first_name.clone(),
            last_name: recruit.last_name.clone(),
            role: recruit.role,
            is_superuser: false,
            email_verified_at: None,
            password_hash: password_hash.clone(),
        };
        let user = auth::service::create_user_in(&mut tx, &user, now).await?;
        let (outbox, addressee) = (desk.outbox(), (user, recruit.email.as_str()));
        if recruit.password.is_none() {
            auth::recovery::service::send_welcome_in(&mut tx, outbox, addressee, &house.account.name, now).await?;
        } else {
            auth::recovery::service::send_verification_in(&mut tx, outbox, addressee, now).await?;
        }
        record_in(&mut tx, manager, "user.created", user, json!({}), json!({ "role": recruit.role }), now).await?;
        finish(tx, manager.account, user).await
    })
    .await
}

/// Changes somebody. Whoever is suspended is signed out at once; another role is judged from the next request on.
pub async fn change(
    pool: &Pool,
    manager: &Manager<'_>,
    user: UserId,
    change: &PersonChange,
    now: Timestamp,
) -> Result<TeamMember, PeopleError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let house = enter_in(&mut tx, manager).await?;
        let before = store::find_member(&mut tx, manager.account, user).await?.ok_or(PeopleError::NotFound)?;
        let after = changed(&before, change);
        check_change(manager, &house, &before, &after)?;
        if before == after {
            return Ok(before);
        }
        store::update_member(&mut tx, manager.account, &after, now).await?;
        check_owner_stays_in(&mut tx, &house.account).await?;
        if !after.is_active {
            auth::store::revoke_sessions(&mut *tx, user, None, "user_suspended", now).await?;
        }
        record_in(&mut tx, manager, "user.changed", user, facts(&before), facts(&after), now).await?;
        finish(tx, manager.account, user).await
    })
    .await
}

/// Hands the account over: the other becomes its owner, and he who hands over an admin. Staff who hand over for a customer
/// leave the present owners what they are.
pub async fn make_owner(pool: &Pool, manager: &Manager<'_>, user: UserId, now: Timestamp) -> Result<TeamMember, PeopleError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let house = enter_in(&mut tx, manager).await?;
        rules::may_give(house.role, Role::Owner)?;
        let before = store::find_member(&mut tx, manager.account, user).await?.ok_or(PeopleError::NotFound)?;
        if before.role == Role::Owner || !before.is_active {
            return if before.is_active { Ok(before) } else { Err(PeopleError::NotFound) };
        }
        rules::may_manage(house.role, before.role)?;
        set_role_in(&mut tx, manager, &before, Role::Owner, now).await?;
        if manager.belongs == Belongs::Here && house.role == Role::Owner {
            let caller = store::find_member(&mut tx, manager.account, manager.user).await?.ok_or(PeopleError::CallerGone)?;
            set_role_in(&mut tx, manager, &caller, Role::Admin, now).await?;
        }
        finish(tx, manager.account, user).await
    })
    .await
}

/// Deletes somebody softly, or lets him leave: his address and seat are free and his sessions over at once (H).
pub async fn delete(pool: &Pool, manager: &Manager<'_>, user: UserId, now: Timestamp) -> Result<DeletedPerson, PeopleError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let house = enter_in(&mut tx, manager).await?;
        let before = store::find_member(&mut tx, manager.account, user).await?.ok_or(PeopleError::NotFound)?;
        if user != manager.user {
            rules::may_manage(house.role, before.role)?;
        }
        let restore_until = rules::restore_until(house.account.deletion_retention_days, now);
        store::mark_deleted(&mut tx, manager.account, user, Deletion { by: manager.user, restore_until }, now).await?;
        check_owner_stays_in(&mut tx, &house.account).await?;
        auth::store::revoke_sessions(&mut *tx, user, None, "user_deleted", now).await?;
        let action = if user == manager.user { "user.left" } else { "user.deleted" };
        record_in(&mut tx, manager, action, user, facts(&before), json!({ "restore_until": restore_until }), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(DeletedPerson { id: user, restore_until })
    })
    .await
}

/// Brings somebody back as he was, if there is a seat and his address is still free.
pub async fn restore(pool: &Pool, manager: &Manager<'_>, user: UserId, now: Timestamp) -> Result<TeamMember, PeopleError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let house = enter_in(&mut tx, manager).await?;
        let gone = store::find_deleted(&mut tx, manager.account, user, now).await?.ok_or(PeopleError::NotFound)?;
        rules::may_manage(house.role, gone.role)?;
        check_seat_in(&mut tx, &house.account, now).await?;
        let restored = store::mark_restored(&mut tx, manager.account, user, now).await;
        restored.map_err(|error| if error.is_constraint("users_email_key") { PeopleError::EmailTakenMeanwhile } else { error.into() })?;
        record_in(&mut tx, manager, "user.restored", user, json!({}), facts(&gone), now).await?;
        finish(tx, manager.account, user).await
    })
    .await
}

/// Purges those whose time to come back is over (H): everything personal goes, the row stays. Gives how many.
pub async fn purge_deleted(pool: &Pool, now: Timestamp) -> Result<usize, StoreError> {
    let mut purged = 0;
    loop {
        let mut tx = db::begin(pool).await?;
        let Some(gone) = store::lock_purgeable(&mut tx, now).await? else { break };
        store::anonymise(&mut tx, gone.user, now).await?;
        let target = format!("user:{}", gone.user);
        let entry =
            Entry { account: gone.account, action: "user.purged", target, before: json!({}), after: json!({}), reason: None, at: now };
        append_in(&mut tx, &Origin::system(), &entry).await?;
        tx.commit().await?;
        purged += 1;
    }
    invitations::store::delete_ended(pool, now).await?;
    Ok(purged)
}

/// Whether the locked account's plan, as it is now, has a seat for one more: people and open invitations count alike.
pub async fn check_seat_in(connection: &mut PgConnection, account: &AccountRow, now: Timestamp) -> Result<(), PeopleError> {
    let open = invitations::store::count_open(connection, account.id, now).await?;
    check_room_in(connection, account, open, now).await
}

/// Whether the plan has room for one more beside its people and that many seats that are kept.
pub async fn check_room_in(connection: &mut PgConnection, account: &AccountRow, kept: i64, now: Timestamp) -> Result<(), PeopleError> {
    let limit = service::plan_in(connection, account, now).await?.map(|plan| plan.max_users);
    let people = store::count_members(&mut *connection, account.id).await?;
    Ok(rules::seat_for_one(limit, people + kept)?)
}

/// What somebody would be after a change.
fn changed(before: &TeamMember, change: &PersonChange) -> TeamMember {
    TeamMember {
        role: change.role.unwrap_or(before.role),
        is_active: change.is_active.unwrap_or(before.is_active),
        first_name: change.first_name.clone().unwrap_or_else(|| before.first_name.clone()),
        last_name: change.last_name.clone().unwrap_or_else(|| before.last_name.clone()),
        ..before.clone()
    }
}

fn check_change(manager: &Manager<'_>, house: &House, before: &TeamMember, after: &TeamMember) -> Result<(), PeopleError> {
    let is_himself = before.id == manager.user;
    if !is_himself {
        rules::may_manage(house.role, before.role)?;
    } else if !after.is_active {
        // Whoever shuts himself out could not open again; he can leave.
        return Err(Forbidden::NotBelow.into());
    }
    if after.role != before.role {
        rules::may_give(house.role, after.role)?;
    }
    Ok(())
}

/// Refuses what would leave the account without anybody in charge who can sign in. Asked after the change, under the lock.
async fn check_owner_stays_in(connection: &mut PgConnection, account: &AccountRow) -> Result<(), PeopleError> {
    let tenancy = if account.is_system { Tenancy::System } else { Tenancy::Customer };
    let roles = rules::roles_in_charge(tenancy).iter().map(|role| role.as_str().to_owned()).collect::<Vec<_>>();
    let left = store::count_active_with_role(connection, account.id, &roles).await?;
    if left > 0 { Ok(()) } else { Err(PeopleError::LastOwner) }
}

async fn set_role_in(
    connection: &mut PgConnection,
    manager: &Manager<'_>,
    before: &TeamMember,
    role: Role,
    now: Timestamp,
) -> Result<(), StoreError> {
    let after = TeamMember { role, ..before.clone() };
    store::update_member(connection, manager.account, &after, now).await?;
    record_in(connection, manager, "user.changed", before.id, facts(before), facts(&after), now).await
}

/// Commits, and gives somebody as he is now.
async fn finish(mut tx: Tx, account: AccountId, user: UserId) -> Result<TeamMember, PeopleError> {
    let member = store::find_member(&mut tx, account, user).await?.ok_or(PeopleError::NotFound)?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(member)
}

/// What the log keeps of somebody: no name and no address, for the log outlives him.
fn facts(member: &TeamMember) -> Value {
    json!({"role": member.role, "is_active": member.is_active})
}

async fn record_in(
    connection: &mut PgConnection,
    manager: &Manager<'_>,
    action: &'static str,
    user: UserId,
    before: Value,
    after: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Entry { account: Some(manager.account), action, target: format!("user:{user}"), before, after, reason: None, at: now };
    append_in(connection, manager.origin, &entry).await.map(drop)
}
