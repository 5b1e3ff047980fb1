//! Starts, renews and ends paid time, always inside the caller's transaction.

use super::{
    model::{Locked, NextPlan, PeriodKind, Subscription, SubscriptionStatus},
    rules::{self, Hold, LaterPeriod, Running, Stood, Undoing},
    store::{self, NewPeriod, NewState},
};
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, PaymentId, PaymentMethod},
    money::{Credits, Money},
    period::Period,
    plans::model::Plan,
};
use sqlx::PgConnection;

/// Starts a new account's trial (B1). Gives the period's number.
pub async fn start_trial_in(
    connection: &mut PgConnection,
    account: AccountId,
    plan: &Plan,
    trial_days: u16,
    now: Timestamp,
) -> Result<i32, StoreError> {
    let period = Period::trial(trial_days, now);
    let state = NewState {
        plan: plan.id,
        status: SubscriptionStatus::Trialing,
        payment_method: None,
        external_payment_id: None,
        period,
        next: None,
    };
    store::put_subscription(connection, account, &state, now).await?;
    let new =
        NewPeriod { kind: PeriodKind::Trial, plan: plan.id, price: Money::ZERO, credits: plan.credits_per_month, period, payment: None };
    store::insert_period(connection, account, &new, now).await
}

/// Time that somebody has bought.
#[derive(Debug, Clone)]
pub struct Started {
    /// Activation, renewal or manual.
    pub kind: PeriodKind,
    /// The period's number.
    pub period_seq: i32,
    /// The subscription now.
    pub subscription: Subscription,
    /// The plan that it is, where that begins later.
    pub next: Option<NextPlan>,
}

/// A payment, as far as time is concerned.
#[derive(Debug, Clone)]
pub struct Paid {
    /// The payment's row.
    pub payment: PaymentId,
    /// How.
    pub method: PaymentMethod,
    /// The bank's or provider's own reference.
    pub external_payment_id: String,
    /// How much.
    pub amount: Money,
}

/// Carries out what a payment buys: B3 where it joins, B2 where it starts. `before` must be locked and as it stands now.
pub async fn apply_payment_in(
    connection: &mut PgConnection,
    account: AccountId,
    (before, hold): (Option<&Locked>, Hold),
    plan: &Plan,
    paid: &Paid,
    now: Timestamp,
) -> Result<Started, StoreError> {
    let running = before.map(|locked| Running {
        plan: locked.plan,
        next_plan: locked.next.map(|next| next.plan),
        status: locked.subscription.status,
        period: locked.subscription.period(),
    });
    let bought = rules::purchase(running, hold, plan.id, plan.billing_cycle, now);
    if bought.kind == PeriodKind::Activation {
        store::close_periods(connection, account, now).await?;
    }
    // Paid before its time, the smaller plan still begins only where what was paid for ends.
    let next = before
        .and_then(|locked| locked.next)
        .filter(|next| bought.kind == PeriodKind::Renewal && next.plan == plan.id && !next.has_begun(now));
    let state = NewState {
        plan: plan.id,
        status: SubscriptionStatus::Active,
        payment_method: Some(paid.method),
        external_payment_id: Some(&paid.external_payment_id),
        period: bought.period,
        next,
    };
    let subscription = store::put_subscription(connection, account, &state, now).await?;
    let new = NewPeriod {
        kind: bought.kind,
        plan: plan.id,
        price: paid.amount,
        credits: plan.credits_per_month,
        period: bought.period,
        payment: Some((paid.payment, paid.external_payment_id.clone())),
    };
    let period_seq = store::insert_period(connection, account, &new, now).await?;
    Ok(Started { kind: bought.kind, period_seq, subscription, next })
}

/// Starts a period by a developer's hand (A3), or for a system account: now, one cycle long, nothing paid.
pub async fn start_manual_in(
    connection: &mut PgConnection,
    account: AccountId,
    plan: &Plan,
    now: Timestamp,
) -> Result<Started, StoreError> {
    store::close_periods(connection, account, now).await?;
    let period = Period::starting(plan.billing_cycle, now);
    let state =
        NewState { plan: plan.id, status: SubscriptionStatus::Active, payment_method: None, external_payment_id: None, period, next: None };
    let subscription = store::put_subscription(connection, account, &state, now).await?;
    let new =
        NewPeriod { kind: PeriodKind::Manual, plan: plan.id, price: Money::ZERO, credits: plan.credits_per_month, period, payment: None };
    let period_seq = store::insert_period(connection, account, &new, now).await?;
    Ok(Started { kind: PeriodKind::Manual, period_seq, subscription, next: None })
}

/// Takes back a period whose payment was taken back, as [`rules::undo`] decides. The subscription must be locked.
pub async fn reverse_in(
    connection: &mut PgConnection,
    account: AccountId,
    period_seq: i32,
    now: Timestamp,
) -> Result<Result<Undoing, LaterPeriod>, StoreError> {
    let periods = store::list_stood(connection, account).await?;
    let undoing = match rules::undo(&periods, period_seq, now).ok_or(sqlx::Error::RowNotFound)? {
        Ok(undoing) => undoing,
        Err(later) => return Ok(Err(later)),
    };
    if store::mark_reversed(connection, account, period_seq, now).await? != 1 {
        return Err(sqlx::Error::RowNotFound.into());
    }
    if !matches!(undoing, Undoing::Past) {
        store::draw_reversed(connection, account, period_seq).await?;
    }
    match &undoing {
        Undoing::Past | Undoing::Last => {}
        Undoing::Ends => store::mark_ended(connection, account, now).await?,
        Undoing::Ahead(before) => put_back_in(connection, account, before, before.period, now).await?,
        Undoing::Resumes(before) => {
            let period = Period { starts_at: now, ends_at: before.planned_ends_at };
            // Nothing is bought by it: a trial stays one, and what was paid for is carried to its end by hand.
            let kind = if before.kind == PeriodKind::Trial { PeriodKind::Trial } else { PeriodKind::Manual };
            let new = NewPeriod { kind, plan: before.plan, price: Money::ZERO, credits: Credits::ZERO, period, payment: None };
            store::insert_period(connection, account, &new, now).await?;
            put_back_in(connection, account, before, period, now).await?;
        }
    }
    Ok(Ok(undoing))
}

/// Makes an earlier period the subscription's present one again.
async fn put_back_in(
    connection: &mut PgConnection,
    account: AccountId,
    before: &Stood,
    period: Period,
    now: Timestamp,
) -> Result<(), StoreError> {
    let reference = before.external_payment_id.as_deref();
    let state = NewState {
        plan: before.plan,
        status: if before.kind == PeriodKind::Trial { SubscriptionStatus::Trialing } else { SubscriptionStatus::Active },
        payment_method: reference.map(|_| PaymentMethod::BankTransfer),
        external_payment_id: reference,
        period,
        next: None,
    };
    store::put_subscription(connection, account, &state, now).await.map(drop)
}

/// Ends an account's time for good, now; a smaller plan that was to come never does.
pub async fn cancel_in(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    store::close_periods(connection, account, now).await?;
    store::mark_next_plan(connection, account, None, now).await?;
    store::mark_status(connection, account, SubscriptionStatus::Canceled, false, now).await
}
