//! The life of an account: every change of state goes through [`move_in`], which asks the one table and writes the log.

use super::{
    invitations,
    model::AccountStatus,
    rules::{self, AccountEvent, IllegalMove, Standing, Tenancy},
    store::{self, AccountRow},
};
use crate::{
    audit::{
        self,
        model::{Entry, Origin},
    },
    auth::{self, members::model::Deletion},
    clock::Timestamp,
    db::{self, MayCollide, Pool, StoreError},
    ids::{AccountId, PlanId, UserId},
    period::days,
    subscriptions::{self, model::Locked},
};
use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgConnection;
use std::pin::Pin;

/// How many accounts the scheduler looks up at once.
const DUE_BATCH: u8 = 250;

/// Why an account can't be changed so.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is none, or it is deleted.
    #[error("no such account")]
    NotFound,
    /// System accounts can't be suspended, cancelled or deleted.
    #[error("a system account can't be changed so")]
    System,
    /// The table of moves does not have it.
    #[error(transparent)]
    Illegal(#[from] IllegalMove),
    /// Nothing to resume: it was not going to be cancelled, or already is.
    #[error("there is no pending cancellation")]
    NotCancelling,
    /// Reactivated, it would be suspended again by the calendar.
    #[error("the period is over")]
    PeriodOver,
    /// It can't come back any more, or its slug is taken.
    #[error("the account can't be restored")]
    NotRestorable,
    /// One of its people's addresses belongs to somebody else by now.
    #[error("an address is taken")]
    EmailTaken,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for AccountError {
    fn is_collision(&self) -> bool {
        matches!(self, AccountError::Store(error) if error.is_collision())
    }
}

/// An account and its subscription, locked in that order, as they stand now.
#[derive(Debug, Clone)]
pub struct Held {
    /// The account's row; its status is the recorded one.
    pub row: AccountRow,
    /// The subscription, its status as it stands now.
    pub subscription: Option<Locked>,
    /// How both stand now.
    pub standing: Standing,
    /// How both stood when it was last recorded.
    pub recorded: Standing,
    /// A smaller plan that has begun and is not recorded yet.
    pub began: Option<PlanId>,
}

impl Held {
    /// The smaller plan that it goes on with, while that is still to come.
    pub fn next_plan(&self) -> Option<PlanId> {
        self.subscription.as_ref().and_then(|locked| locked.next).map(|next| next.plan)
    }
}

/// Locks a living account and its subscription, and says how they stand now.
pub async fn hold_in(connection: &mut PgConnection, account: AccountId, grace: TimeDelta, now: Timestamp) -> Result<Held, AccountError> {
    let mut row = store::lock_account(connection, account).await?.filter(|row| row.deleted_at.is_none()).ok_or(AccountError::NotFound)?;
    let mut subscription = subscriptions::store::lock_subscription(connection, account).await?;
    let tenancy = if row.is_system { Tenancy::System } else { Tenancy::Customer };
    let recorded = Standing { account: row.status, subscription: subscription.as_ref().map(|locked| locked.subscription.status) };
    let standing = rules::standing(row.status, tenancy, subscription.as_ref().map(|locked| &locked.subscription), grace, now);
    if let (Some(locked), Some(status)) = (&mut subscription, standing.subscription) {
        locked.subscription.status = status;
    }
    let began = match &mut subscription {
        Some(locked) => begin_next_plan(locked, &mut row, now),
        None => None,
    };
    Ok(Held { row, subscription, standing, recorded, began })
}

/// A smaller plan whose time has come is the account's, whether or not that is recorded. Gives it.
fn begin_next_plan(locked: &mut Locked, row: &mut AccountRow, now: Timestamp) -> Option<PlanId> {
    let next = locked.next.filter(|next| next.has_begun(now))?;
    (locked.plan, locked.next, row.plan) = (next.plan, None, Some(next.plan));
    Some(next.plan)
}

/// Moves an account by the one table of legal moves, and logs it. `from` is how it stands now.
pub async fn move_in(
    connection: &mut PgConnection,
    account: AccountId,
    from: AccountStatus,
    (event, reason): (AccountEvent, Option<&str>),
    origin: &Origin,
    now: Timestamp,
) -> Result<AccountStatus, AccountError> {
    let next = rules::next_status(from, event)?;
    store::mark_status(connection, account, next, now).await?;
    let entry = Entry {
        account: Some(account),
        action: "account.status_changed",
        target: format!("account:{account}"),
        before: json!({"status": from}),
        after: json!({"status": next, "event": format!("{event:?}")}),
        reason: reason.map(str::to_owned),
        at: now,
    };
    audit::service::record_in(connection, origin, &entry).await?;
    Ok(next)
}

/// Edits name and billing details.
pub async fn change(
    pool: &Pool,
    account: AccountId,
    details: &store::Details,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), AccountError> {
    let mut tx = db::begin(pool).await?;
    store::mark_details(&mut tx, account, details, now).await?;
    record_in(
        &mut tx,
        account,
        "account.changed",
        json!({"name": details.name, "billing_email": details.billing_email, "billing_address": details.billing_address}),
        None,
        origin,
        now,
    )
    .await?;
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// When a customer wants his cancellation to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelWhen {
    /// At once.
    Now,
    /// When what is paid is used up.
    PeriodEnd,
}

/// Cancels by the customer's wish. Gives how the account stands afterwards.
pub async fn cancel(
    pool: &Pool,
    account: AccountId,
    when: CancelWhen,
    grace: TimeDelta,
    origin: &Origin,
    now: Timestamp,
) -> Result<AccountStatus, AccountError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let held = hold_in(&mut tx, account, grace, now).await?;
        if held.row.is_system {
            return Err(AccountError::System);
        }
        let status = match (when, &held.subscription) {
            (CancelWhen::PeriodEnd, Some(locked)) if held.standing.account != AccountStatus::Cancelled => {
                subscriptions::store::mark_status(&mut tx, account, locked.subscription.status, true, now).await?;
                record_in(&mut tx, account, "subscription.cancel_asked", json!({"cancel_at_period_end": true}), None, origin, now).await?;
                held.standing.account
            }
            (CancelWhen::Now | CancelWhen::PeriodEnd, _) => {
                let status = move_in(&mut tx, account, held.standing.account, (AccountEvent::Cancelled, None), origin, now).await?;
                subscriptions::service::cancel_in(&mut tx, account, now).await?;
                status
            }
        };
        tx.commit().await.map_err(StoreError::from)?;
        Ok(status)
    })
    .await
}

/// Takes back a cancellation that has not taken effect.
pub async fn resume(pool: &Pool, account: AccountId, grace: TimeDelta, origin: &Origin, now: Timestamp) -> Result<(), AccountError> {
    let mut tx = db::begin(pool).await?;
    let held = hold_in(&mut tx, account, grace, now).await?;
    let pending =
        held.subscription.filter(|locked| locked.subscription.cancel_at_period_end && held.standing.account != AccountStatus::Cancelled);
    let locked = pending.ok_or(AccountError::NotCancelling)?;
    subscriptions::store::mark_status(&mut tx, account, locked.subscription.status, false, now).await?;
    record_in(&mut tx, account, "subscription.resumed", json!({"cancel_at_period_end": false}), None, origin, now).await?;
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// Deletes softly (H): nobody gets in any more, and for the account's retention time it can be taken back.
pub async fn delete(pool: &Pool, account: AccountId, by: UserId, origin: &Origin, now: Timestamp) -> Result<Timestamp, AccountError> {
    let mut tx = db::begin(pool).await?;
    let row = store::lock_account(&mut tx, account).await?.filter(|row| row.deleted_at.is_none()).ok_or(AccountError::NotFound)?;
    if row.is_system {
        return Err(AccountError::System);
    }
    let restore_until = now + days(u16::try_from(row.deletion_retention_days).unwrap_or(0));
    store::mark_deleted(&mut tx, account, by, restore_until, now).await?;
    // Its people go with it, so that their addresses are free; and so do its invitations.
    auth::members::store::mark_all_deleted(&mut tx, account, Deletion { by, restore_until }, now).await?;
    invitations::store::mark_all_revoked(&mut tx, account, now).await?;
    record_in(&mut tx, account, "account.deleted", json!({"restore_until": restore_until}), None, origin, now).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(restore_until)
}

/// Takes a soft deletion back while its time is not over (H).
pub async fn restore(pool: &Pool, account: AccountId, origin: &Origin, now: Timestamp) -> Result<(), AccountError> {
    let mut tx = db::begin(pool).await?;
    let row = store::lock_account(&mut tx, account).await?.filter(|row| row.deleted_at.is_some()).ok_or(AccountError::NotFound)?;
    if row.restore_until.is_none_or(|until| until <= now) {
        // Let go before the answer: a purge passes over what is locked, and a dropped transaction lets go a moment later.
        tx.rollback().await.map_err(StoreError::from)?;
        return Err(AccountError::NotRestorable);
    }
    store::mark_restored(&mut tx, account, now)
        .await
        .map_err(|error| if error.is_constraint("accounts_slug_key") { AccountError::NotRestorable } else { error.into() })?;
    auth::members::store::mark_all_restored(&mut tx, account, now)
        .await
        .map_err(|error| if error.is_constraint("users_email_key") { AccountError::EmailTaken } else { error.into() })?;
    record_in(&mut tx, account, "account.restored", json!({}), None, origin, now).await?;
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// Takes away what a room further right keeps of an account that is purged, in the purge's transaction.
pub type GoesWithAccount = for<'c> fn(&'c mut PgConnection, AccountId) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'c>>;

/// Purges accounts whose time to come back is over (H): everything personal goes, financial records stay. What this room
/// does not know of goes by `goes_with`. Gives how many.
pub async fn purge_deleted(pool: &Pool, goes_with: GoesWithAccount, now: Timestamp) -> Result<usize, AccountError> {
    let mut purged = 0;
    loop {
        let mut tx = db::begin(pool).await?;
        let Some(account) = store::lock_purgeable(&mut tx, now).await? else { return Ok(purged) };
        subscriptions::service::cancel_in(&mut tx, account, now).await?;
        auth::store::anonymise_users(&mut tx, account, now).await?;
        invitations::store::delete_all(&mut tx, account).await?;
        goes_with(&mut tx, account).await?;
        store::anonymise(&mut tx, account, now).await?;
        record_in(&mut tx, account, "account.purged", json!({}), None, &Origin::system(), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        purged += 1;
    }
}

/// Records what the calendar has decided (B5): trials and grace times that are over, cancellations that are due. Each account
/// in its own transaction, claimed without waiting and judged again under its lock, so that several instances do each thing once;
/// one that fails keeps no other from its turn. Gives how many changed.
pub async fn end_periods(pool: &Pool, grace: TimeDelta, now: Timestamp) -> Result<usize, AccountError> {
    let mut changed = 0;
    loop {
        let due = store::list_due(pool, now - grace, i64::from(DUE_BATCH), now).await?;
        let (mut changed_now, is_last) = (0, due.len() < usize::from(DUE_BATCH));
        for account in due {
            match db::retried(|| end_period(pool, account, grace, now)).await {
                Ok(has_changed) => changed_now += usize::from(has_changed),
                Err(error) => tracing::error!(account = account.0, %error, "a period was not ended; it is tried again"),
            }
        }
        changed += changed_now;
        // Where nothing changed, what is left is somebody else's now, and the next round's.
        if is_last || changed_now == 0 {
            return Ok(changed);
        }
    }
}

async fn end_period(pool: &Pool, account: AccountId, grace: TimeDelta, now: Timestamp) -> Result<bool, AccountError> {
    let mut tx = db::begin(pool).await?;
    if !store::claim_account(&mut tx, account).await? {
        return Ok(false);
    }
    let held = hold_in(&mut tx, account, grace, now).await?;
    let (Some(locked), Some(status)) = (&held.subscription, held.standing.subscription) else { return Ok(false) };
    if held.recorded == held.standing && held.began.is_none() {
        return Ok(false);
    }
    let origin = Origin::system();
    if let Some(plan) = held.began {
        begin_plan_in(&mut tx, account, plan, &origin, now).await?;
    }
    let event = match held.standing.account {
        status if status == held.row.status => None,
        AccountStatus::Cancelled => Some((AccountEvent::Cancelled, Some("the last period ended"))),
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment | AccountStatus::Suspended => {
            Some((AccountEvent::PeriodLapsed, Some("the period ended unpaid")))
        }
    };
    if let Some(event) = event {
        move_in(&mut tx, account, held.row.status, event, &origin, now).await?;
    }
    subscriptions::store::mark_status(&mut tx, account, status, locked.subscription.cancel_at_period_end, now).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(true)
}

/// Records that an account goes on with the smaller plan that was asked for.
async fn begin_plan_in(
    connection: &mut PgConnection,
    account: AccountId,
    plan: PlanId,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), StoreError> {
    store::mark_plan(connection, account, plan, None, now).await?;
    subscriptions::store::mark_next_plan_begun(connection, account, now).await?;
    record_in(connection, account, "account.downgraded", json!({"plan": plan}), None, origin, now).await
}

async fn record_in(
    connection: &mut PgConnection,
    account: AccountId,
    action: &'static str,
    after: serde_json::Value,
    reason: Option<String>,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Entry { account: Some(account), action, target: format!("account:{account}"), before: json!({}), after, reason, at: now };
    audit::service::record_in(connection, origin, &entry).await.map(drop)
}
