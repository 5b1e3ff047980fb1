//! Asks, approves and rejects, each one transaction. The lock order is order → transfer → account → subscription → invoice.

use super::{
    model::{Approval, ApprovalStatus, Approved, Waiting, Wanted, Work},
    rules::{self, DAYS_TO_JUDGE, Judge, NotApproved, SUMMARY_CHARS_MAX, Thresholds},
    store::{self, NewApproval},
};
use crate::{
    billing::{
        confirmation::{self, Confirmer, Order},
        gifts,
        keys::{recall_in, remember_in},
        model::{Confirmed, Run},
        service::{self, BillingError, Replayable, Terms, end, record_in, written},
    },
    clock::Timestamp,
    credits::service::StaffMove,
    db::{self, Pool, StoreError},
    ids::{AccountId, ApprovalId},
    meters,
    period::days,
    plans,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Confirms a transfer, or asks for a second admin where it is another amount by more than the threshold.
pub async fn confirm(
    pool: &Pool,
    order: &Order,
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    match confirmation::confirm(pool, order, by, terms, now).await {
        Err(BillingError::NeedsApproval(wanted)) => ask(pool, &wanted, by, terms, now).await,
        done => done,
    }
}

/// Moves credits by staff's hand, or asks for a second admin where they are more than the threshold.
pub async fn adjust(
    pool: &Pool,
    account: AccountId,
    (wish, run): (&StaffMove<'_>, Run),
    by: &Confirmer,
    (terms, thresholds): (Terms<'_>, Thresholds),
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    if !thresholds.asks_for_credits(wish.amount) {
        return gifts::service::adjust(pool, account, (wish, run), by, now).await;
    }
    let work = Work::Credits { amount: wish.amount, kind: wish.kind, expires_at: wish.expires_at };
    ask(pool, &Wanted { account, work, reason: wish.reason.to_owned(), run }, by, terms, now).await
}

/// Sets a plan by a developer's hand, or asks for a second one where it is worth more than a threshold.
pub async fn set_plan(
    pool: &Pool,
    account: AccountId,
    (wish, run): (service::PlanWish<'_>, Run),
    by: &Confirmer,
    (terms, thresholds): (Terms<'_>, Thresholds),
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    let plan = plans::store::find_plan_by_slug(pool, wish.plan_slug).await?.ok_or(BillingError::UnknownPlan)?;
    if !thresholds.asks_for_plan(&plan) {
        return service::set_plan(pool, account, (wish, run), by, terms.grace, now).await;
    }
    let work = Work::Plan { plan_slug: plan.slug };
    ask(pool, &Wanted { account, work, reason: wish.reason.to_owned(), run }, by, terms, now).await
}

/// Writes an order that waits, after it was tried and rolled back: what can't be done is told now, and the summary says what
/// would be.
async fn ask(
    pool: &Pool,
    wanted: &Wanted,
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some(first) = recall_key_in(&mut tx, by).await? {
            return Ok((first, true));
        }
        let tried = carry_out_in(&mut tx, wanted, by, terms, now).await?;
        tx.rollback().await.map_err(StoreError::from)?;

        let mut tx = db::begin(pool).await?;
        let waiting = ask_in(&mut tx, wanted, &tried.message, by, now).await?;
        remember_key_in(&mut tx, by, (202, &waiting), now).await?;
        end(tx, wanted.run).await?;
        Ok((waiting, false))
    })
    .await
}

async fn ask_in(
    connection: &mut PgConnection,
    wanted: &Wanted,
    summary: &str,
    by: &Confirmer,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let (account, work) = (wanted.account, written(&wanted.work)?);
    let summary = summary.chars().take(SUMMARY_CHARS_MAX).collect::<String>();
    let new = NewApproval {
        kind: wanted.work.kind(),
        work: &work,
        summary: &summary,
        reason: &wanted.reason,
        asked_by: by.user,
        expires_at: now + days(DAYS_TO_JUDGE),
    };
    let id = store::insert_approval(connection, account, &new, now).await?;
    let (target, because) = (format!("approval:{id}"), Some(wanted.reason.clone()));
    record_in(connection, account, "approval.asked", target, (json!({}), json!({"work": work})), because, &by.origin, now).await?;
    let approval = store::find_approval(connection, id, now).await?.ok_or(BillingError::NotFound)?;
    let until = approval.expires_at.format("%Y-%m-%d");
    let message = format!("{}Order {id} waits for another admin's approval until {until}: {summary}", wanted.run.prefix());
    let data = written(&Waiting { approval, dry_run: wanted.run == Run::Dry })?;
    Ok(Confirmed { data, message })
}

/// Does what was ordered, in the caller's transaction.
async fn carry_out_in(
    connection: &mut PgConnection,
    wanted: &Wanted,
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let (account, reason) = (wanted.account, wanted.reason.as_str());
    match &wanted.work {
        Work::Credits { amount, kind, expires_at } => {
            let wish = StaffMove { amount: *amount, kind: *kind, expires_at: *expires_at, reason };
            gifts::service::adjust_in(connection, account, (&wish, wanted.run), &by.origin, now).await
        }
        Work::Plan { plan_slug } => {
            let wish = service::PlanWish { plan_slug, reason };
            service::set_plan_in(connection, account, (wish, wanted.run), terms.grace, &by.origin, now).await
        }
        Work::Transfer { .. } => {
            let transfer = wanted.transfer().ok_or(BillingError::NotFound)?;
            // Whoever approves is the second admin: there is no third.
            let terms = Terms { override_max: None, ..terms };
            confirmation::confirm_in(connection, &transfer, by.hand(), terms, now).await
        }
    }
}

/// Carries an order out that another admin asked for. Of those who approve it at once, one does.
pub async fn approve(
    pool: &Pool,
    (id, run): (ApprovalId, Run),
    (judge, by): (Judge, &Confirmer),
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    let done = db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some(first) = recall_key_in(&mut tx, by).await? {
            return Ok((first, true));
        }
        let order = store::lock_approval(&mut tx, id, now).await?.ok_or(BillingError::NotFound)?;
        rules::may_approve(&order, judge)?;
        let approved = approve_in(&mut tx, order, run, by, terms, now).await?;
        remember_key_in(&mut tx, by, (200, &approved), now).await?;
        end(tx, run).await?;
        Ok::<_, BillingError>((approved, false))
    })
    .await?;
    if let (Run::Real, (approved, false)) = (run, &done) {
        count(&approved.data);
    }
    Ok(done)
}

/// Counts what was carried out and is committed, as the same order without a second admin is counted.
fn count(approved: &Value) {
    let result = &approved["result"];
    match approved["approved"]["kind"].as_str() {
        Some("transfer") => confirmation::count(&Confirmed { data: result.clone(), message: String::new() }),
        Some("credits") => meters::granted(meters::Cause::Staff, result["amount"].as_i64().unwrap_or(0)),
        Some(_) | None => {}
    }
}

async fn approve_in(
    connection: &mut PgConnection,
    order: Approval,
    run: Run,
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let (id, account) = (order.id, order.account_id);
    let work = serde_json::from_value(order.work).map_err(|error| StoreError::from(sqlx::Error::Decode(error.into())))?;
    let done = carry_out_in(connection, &Wanted { account, work, reason: order.reason, run }, by, terms, now).await?;
    if store::mark_approved(connection, account, id, (by.user, &done.data), now).await? != 1 {
        return Err(NotApproved::NotPending(ApprovalStatus::Approved).into());
    }
    let change = (json!({"status": ApprovalStatus::Pending}), json!({"status": ApprovalStatus::Approved}));
    record_in(connection, account, "approval.approved", format!("approval:{id}"), change, None, &by.origin, now).await?;
    let approved = store::find_approval(connection, id, now).await?.ok_or(BillingError::NotFound)?;
    let message = format!("{} Order {id} of user {} is approved.", done.message, approved.asked_by);
    Ok(Confirmed { data: written(&Approved { approved, result: done.data, dry_run: run == Run::Dry })?, message })
}

/// Says no to an order. Who asked for it may do so too: that takes it back.
pub async fn reject(
    pool: &Pool,
    id: ApprovalId,
    (reason, run): (&str, Run),
    by: &Confirmer,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let order = store::lock_approval(&mut tx, id, now).await?.ok_or(BillingError::NotFound)?;
        let account = order.account_id;
        if order.status != ApprovalStatus::Pending || store::mark_rejected(&mut tx, account, id, (by.user, reason), now).await? != 1 {
            return Err(NotApproved::NotPending(order.status).into());
        }
        let change = (json!({"status": ApprovalStatus::Pending}), json!({"status": ApprovalStatus::Rejected}));
        let (target, because) = (format!("approval:{id}"), Some(reason.to_owned()));
        record_in(&mut tx, account, "approval.rejected", target, change, because, &by.origin, now).await?;
        let rejected = store::find_approval(&mut *tx, id, now).await?.ok_or(BillingError::NotFound)?;
        end(tx, run).await?;
        let message = format!("{}Order {id} is rejected; nothing was done.", run.prefix());
        Ok(Confirmed { data: written(&rejected)?, message })
    })
    .await
}

/// What the admin's key stands for, if he has sent it before. It is kept under his own account.
pub(in crate::billing) async fn recall_key_in(connection: &mut PgConnection, by: &Confirmer) -> Result<Option<Confirmed>, BillingError> {
    let Some((home, key)) = &by.key else { return Ok(None) };
    Ok(recall_in(connection, *home, Some(key)).await?.map(Confirmed::of))
}

pub(in crate::billing) async fn remember_key_in(
    connection: &mut PgConnection,
    by: &Confirmer,
    (status, first): (i16, &Confirmed),
    now: Timestamp,
) -> Result<(), BillingError> {
    let Some((home, key)) = &by.key else { return Ok(()) };
    remember_in(connection, *home, Some(key), (status, &first.value()), now).await
}
