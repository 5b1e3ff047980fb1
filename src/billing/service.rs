//! Upgrades, and what staff do by hand. Each is one transaction; the lock order is account → subscription → invoice.

use super::{
    approvals::{model::Wanted, rules::NotApproved},
    balance::service::BalanceError,
    confirmation::Confirmer,
    downgrades::model::DowngradeRefused,
    keys::{recall_in, remember_in},
    methods,
    model::{AdminResult, CURRENCY, Confirmed, Invoice, InvoicePurpose, InvoiceStatus, Payee, PaymentStatus, Run},
    payments::rules::ReportFault,
    rules::{self, Unpayable},
    store::{self, NewInvoice},
    trials::rules::NotExtended,
};
use crate::{
    accounts::{
        self,
        life::{AccountError, Held},
        model::AccountStatus,
        rules::AccountEvent,
    },
    audit::{
        self,
        model::{Entry, Origin},
    },
    clock::Timestamp,
    credits::{self, service::CreditError},
    db::{self, MayCollide, Pool, StoreError},
    idempotency::{model::Keyed, service::KeyError},
    ids::{AccountId, InvoiceId, PaymentMethod, PlanId},
    mail::service::Outbox,
    money::Money,
    period::days,
    plans::{self, model::Plan},
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Why money was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// Not payable, or not so.
    #[error(transparent)]
    Unpayable(#[from] Unpayable),
    /// No plan of that name.
    #[error("no such plan")]
    UnknownPlan,
    /// The way to pay is not on offer.
    #[error("the payment method is not on offer")]
    MethodNotOffered,
    /// No account is known by what the admin named.
    #[error("no account is known by that")]
    NoPayee(Payee),
    /// No such invoice, payment or transfer.
    #[error("there is nothing of that name")]
    NotFound,
    /// What a customer reported can't be.
    #[error("the report can't be right")]
    Report(Vec<ReportFault>),
    /// The account has reported or paid with this reference before.
    #[error("the reference is known already; its payment is {0}")]
    AlreadyReported(PaymentStatus),
    /// Too many reports of the account wait for an admin.
    #[error("too many reports are waiting")]
    TooManyReports,
    /// The invoice is not open.
    #[error("the invoice is {0}")]
    InvoiceNotOpen(InvoiceStatus),
    /// The payment was judged before.
    #[error("the payment is {0}")]
    PaymentNotPending(PaymentStatus),
    /// A later transfer has bought time behind what this one bought.
    #[error("a later transfer stands on this one")]
    LaterTransfer(String),
    /// So much may not be done without a second admin.
    #[error("another admin must approve this")]
    NeedsApproval(Box<Wanted>),
    /// The order can't be approved, or not by him.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// The trial does not get longer.
    #[error(transparent)]
    NotExtended(#[from] NotExtended),
    /// The smaller plan.
    #[error(transparent)]
    Downgrade(#[from] DowngradeRefused),
    /// The money.
    #[error(transparent)]
    Balance(#[from] BalanceError),
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The credits.
    #[error(transparent)]
    Credits(#[from] CreditError),
    /// The idempotency key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for BillingError {
    fn is_collision(&self) -> bool {
        match self {
            BillingError::Store(error) => error.is_collision(),
            BillingError::Account(error) => error.is_collision(),
            BillingError::Credits(error) => error.is_collision(),
            BillingError::Key(KeyError::Store(error)) | BillingError::Balance(BalanceError::Store(error)) => error.is_collision(),
            BillingError::Key(KeyError::Reused)
            | BillingError::Unpayable(_)
            | BillingError::UnknownPlan
            | BillingError::MethodNotOffered
            | BillingError::NotFound
            | BillingError::NoPayee(_)
            | BillingError::Report(_)
            | BillingError::AlreadyReported(_)
            | BillingError::TooManyReports
            | BillingError::InvoiceNotOpen(_)
            | BillingError::PaymentNotPending(_)
            | BillingError::LaterTransfer(_)
            | BillingError::NeedsApproval(_)
            | BillingError::NotApproved(_)
            | BillingError::NotExtended(_)
            | BillingError::Downgrade(_)
            | BillingError::Balance(BalanceError::Used | BalanceError::OutOfRange) => false,
        }
    }
}

/// What configuration says of money.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// From a paid period's end to suspension.
    pub grace: TimeDelta,
    /// Until an invoice is due.
    pub due_days: u16,
    /// How much another amount than what is owed one admin may take by himself; none: any.
    pub override_max: Option<Money>,
    /// Where the mails go that tell of it.
    pub outbox: Outbox<'a>,
}

/// An answer, and whether it is the first one of a request that was sent again.
pub type Replayable<T> = (T, bool);

/// An account asks for a paid plan (A4): gives its one open invoice. Asked again, it is the same invoice.
pub async fn upgrade(
    pool: &Pool,
    account: AccountId,
    (plan_slug, method): (&str, PaymentMethod),
    key: Option<&Keyed>,
    terms: Terms<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Replayable<Value>, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((first, true));
        }
        let invoice = upgrade_in(&mut tx, account, (plan_slug, method), terms, origin, now).await?;
        let answer = written(&invoice)?;
        remember_in(&mut tx, account, key, (201, &answer), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok((answer, false))
    })
    .await
}

async fn upgrade_in(
    connection: &mut PgConnection,
    account: AccountId,
    (plan_slug, method): (&str, PaymentMethod),
    terms: Terms<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Invoice, BillingError> {
    let held = accounts::life::hold_in(connection, account, terms.grace, now).await?;
    if held.row.is_system {
        // It would wait for a payment for ever: staff's own never owes anything.
        return Err(AccountError::System.into());
    }
    let open = store::lock_open_invoice(connection, account).await?;
    let plan = plan_named_in(connection, plan_slug, &[open.as_ref().map(|open| open.plan), held.next_plan(), held.row.plan]).await?;
    rules::payable(&plan)?;
    if let Some(open) = open {
        if open.plan == plan.id && open.payment_method == method {
            return Ok(open);
        }
        store::mark_invoice(connection, account, open.id, InvoiceStatus::Void, now).await?;
    }
    let new = NewInvoiceTerms { purpose: purpose_of(&held, &plan), method, due_at: now + days(terms.due_days) };
    let invoice = invoice_in(connection, account, &plan, new, now).await?;
    if held.standing.account != AccountStatus::PendingPayment {
        accounts::life::move_in(connection, account, held.standing.account, (AccountEvent::UpgradeAsked, None), origin, now).await?;
    }
    let after = json!({"plan": plan.slug, "amount": invoice.amount, "payment_method": method});
    record_in(connection, account, "invoice.created", format!("invoice:{}", invoice.id), (json!({}), after), None, origin, now).await?;
    Ok(invoice)
}

pub(super) fn purpose_of(held: &Held, plan: &Plan) -> InvoicePurpose {
    if [held.row.plan, held.next_plan()].contains(&Some(plan.id)) { InvoicePurpose::Renewal } else { InvoicePurpose::Upgrade }
}

/// The plan of that word: in the version that the account has or was invoiced, for that is kept until it changes plan; else
/// as it is on offer.
pub(super) async fn plan_named_in(connection: &mut PgConnection, slug: &str, own: &[Option<PlanId>]) -> Result<Plan, BillingError> {
    for own in own.iter().flatten() {
        let plan = plans::store::get_plan(&mut *connection, *own).await?;
        if plan.slug == slug {
            return Ok(plan);
        }
    }
    plans::store::find_plan_by_slug(connection, slug).await?.ok_or(BillingError::UnknownPlan)
}

pub(super) fn written(answer: &impl serde::Serialize) -> Result<Value, BillingError> {
    serde_json::to_value(answer).map_err(|error| StoreError::from(sqlx::Error::Encode(error.into())).into())
}

/// What an invoice says besides the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewInvoiceTerms {
    /// What for.
    pub purpose: InvoicePurpose,
    /// How it is to be paid.
    pub method: PaymentMethod,
    /// Until when.
    pub due_at: Timestamp,
}

/// Writes an open invoice for one period of the plan.
pub(super) async fn invoice_in(
    connection: &mut PgConnection,
    account: AccountId,
    plan: &Plan,
    NewInvoiceTerms { purpose, method, due_at }: NewInvoiceTerms,
    now: Timestamp,
) -> Result<Invoice, BillingError> {
    let options = methods::service::offered_in(connection, account).await?;
    let option = options.into_iter().find(|option| option.method == method).ok_or(BillingError::MethodNotOffered)?;
    let month = now.format("%Y%m").to_string();
    let number = store::next_number(connection, account, &month).await?;
    let new = NewInvoice {
        number: rules::invoice_number(account, &month, number),
        reference: rules::payment_reference(account, &month, number),
        purpose,
        plan: plan.id,
        description: format!("{} plan, {} days", plan.name, plan.billing_cycle.length().num_days()),
        amount: plan.price,
        currency: CURRENCY.to_owned(),
        payment_method: method,
        bank_details: option.details,
        due_at,
    };
    let id = store::insert_invoice(connection, account, &new, now).await?;
    get_invoice_in(connection, account, id).await
}

pub(super) async fn get_invoice_in(connection: &mut PgConnection, account: AccountId, id: InvoiceId) -> Result<Invoice, BillingError> {
    store::find_invoice(connection, account, id).await?.ok_or_else(|| StoreError::from(sqlx::Error::RowNotFound).into())
}

/// A plan that a developer wants an account to have, and why.
#[derive(Debug, Clone, Copy)]
pub struct PlanWish<'a> {
    /// The plan's word.
    pub plan_slug: &'a str,
    /// For the log.
    pub reason: &'a str,
}

/// Sets an account's plan by a developer's hand: the only way to enterprise (A3). Starts a period now and resets credits.
pub async fn set_plan(
    pool: &Pool,
    account: AccountId,
    (wish, run): (PlanWish<'_>, Run),
    by: &Confirmer,
    grace: TimeDelta,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    let key = by.key.as_ref().map(|(_, key)| key);
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((Confirmed::of(first), true));
        }
        let set = set_plan_in(&mut tx, account, (wish, run), grace, &by.origin, now).await?;
        remember_in(&mut tx, account, key, (200, &set.value()), now).await?;
        end(tx, run).await?;
        Ok((set, false))
    })
    .await
}

pub(super) async fn set_plan_in(
    connection: &mut PgConnection,
    account: AccountId,
    (wish, run): (PlanWish<'_>, Run),
    grace: TimeDelta,
    origin: &Origin,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let held = accounts::life::hold_in(connection, account, grace, now).await?;
    let plan = plans::store::find_plan_by_slug(&mut *connection, wish.plan_slug).await?.filter(|plan| plan.is_active);
    let plan = plan.ok_or(BillingError::UnknownPlan)?;
    let before = match held.row.plan {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?.slug),
        None => None,
    };
    if let Some(open) = store::lock_open_invoice(connection, account).await? {
        store::mark_invoice(connection, account, open.id, InvoiceStatus::Void, now).await?;
    }
    let started = crate::subscriptions::service::start_manual_in(connection, account, &plan, now).await?;
    let reset = credits::service::reset_in(connection, account, started.period_seq, &plan, &origin.actor, now).await?;
    let event = (AccountEvent::PlanSetByHand, Some(wish.reason));
    let status = accounts::life::move_in(connection, account, held.standing.account, event, origin, now).await?;
    accounts::store::mark_plan(connection, account, plan.id, None, now).await?;
    let change = (json!({"plan": held.row.plan}), json!({"plan": plan.id, "slug": plan.slug}));
    let target = format!("account:{account}");
    record_in(connection, account, "account.plan_set", target, change, Some(wish.reason.to_owned()), origin, now).await?;
    let end = started.subscription.current_period_end;
    let (prefix, slug, until) = (run.prefix(), &plan.slug, end.format("%Y-%m-%d"));
    let message = format!("{prefix}Account {account} has {slug} until {until}; credits {} → {}.", reset.before, reset.after);
    let end_before = held.subscription.as_ref().map(|locked| locked.subscription.current_period_end);
    let changes = changed([
        ("account.status", [json!(held.standing.account), json!(status)]),
        ("account.plan", [json!(before), json!(plan.slug)]),
        ("account.credits", [json!(reset.before), json!(reset.after)]),
        ("subscription.current_period_end", [json!(end_before), json!(end)]),
    ]);
    let (plan, credits) = (Some(plan.slug), Some(reset.after));
    let data = AdminResult { account_id: account, status, plan, credits, changes, dry_run: run == Run::Dry };
    Ok(Confirmed { data: written(&data)?, message })
}

/// What really changed.
pub(super) fn changed(all: impl IntoIterator<Item = (&'static str, [Value; 2])>) -> BTreeMap<&'static str, [Value; 2]> {
    all.into_iter().filter(|(_, [before, after])| before != after).collect()
}

/// Ends an order's transaction: keeps what was done, or, in a dry run, nothing of it.
pub(super) async fn end(tx: db::Tx, run: Run) -> Result<(), StoreError> {
    match run {
        Run::Real => Ok(tx.commit().await?),
        Run::Dry => Ok(tx.rollback().await?),
    }
}

#[allow(clippy::too_many_arguments, reason = "an audit entry, spelled out once for this room")]
pub(super) async fn record_in(
    connection: &mut PgConnection,
    account: AccountId,
    action: &'static str,
    target: String,
    (before, after): (Value, Value),
    reason: Option<String>,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Entry { account: Some(account), action, target, before, after, reason, at: now };
    audit::service::record_in(connection, origin, &entry).await.map(drop)
}
