//! Confirmations (G): one transaction each; the lock order is transfer → account → subscription → invoice.

use super::{
    model::{CURRENCY, Confirmation, Confirmed, Invoice, InvoiceStatus, Payee, Payment, PaymentStatus, Run, Transfer},
    payments::{self, store::NewTransfer},
    rules::{self, Earlier, Unpayable},
    service::{BillingError, Replayable, Terms, invoice_in, purpose_of, recall_in, record_in, remember_in, written},
    store,
};
use crate::{
    accounts::{
        self,
        life::{AccountError, Held},
        model::{Account, AccountStatus},
        rules::AccountEvent,
    },
    audit::model::Origin,
    clock::Timestamp,
    credits,
    db::{self, StoreError},
    idempotency::model::Keyed,
    ids::{AccountId, PaymentMethod, UserId},
    money::Credits,
    plans::{self, model::Plan},
    subscriptions::{
        self,
        model::PeriodKind,
        rules::Hold,
        service::{Paid, Started},
    },
};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Who confirms, and from where.
#[derive(Debug, Clone)]
pub struct Confirmer {
    /// The admin.
    pub user: UserId,
    /// For the log.
    pub origin: Origin,
    /// His own account with the key that he sent, where he sent one.
    pub key: Option<(AccountId, Keyed)>,
}

/// Confirms a bank transfer (G): checks it, records it, applies B2 or B3 with the plan that was paid for, and writes
/// invoice, ledger and log, all or nothing. The same transfer again gives the first answer and no second effect.
pub async fn confirm(
    pool: &PgPool,
    transfer: &Transfer,
    by: &Confirmer,
    terms: Terms,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some((home, key)) = &by.key
            && let Some(first) = recall_in(&mut tx, *home, Some(key)).await?
        {
            return Ok((Confirmed::of(first), true));
        }
        let confirmed = confirm_in(&mut tx, transfer, by, terms, now).await?;
        if let Some((home, key)) = &by.key {
            remember_in(&mut tx, *home, Some(key), (200, &confirmed.value()), now).await?;
        }
        match transfer.run {
            Run::Real => tx.commit().await.map_err(StoreError::from)?,
            Run::Dry => tx.rollback().await.map_err(StoreError::from)?,
        }
        Ok((confirmed, false))
    })
    .await
}

async fn confirm_in(
    connection: &mut PgConnection,
    transfer: &Transfer,
    by: &Confirmer,
    terms: Terms,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let account = payee_in(connection, &transfer.payee).await?;
    payments::store::lock_transfer(connection, &transfer.external_payment_id).await?;
    let Some(earlier) = payments::store::find_transfer(&mut *connection, &transfer.external_payment_id).await? else {
        return take_in(connection, account, transfer, by, terms, now).await;
    };
    let result = earlier.result.clone();
    rules::is_same(&Earlier { account: earlier.account, payment: earlier.payment, plan_slug: earlier.plan_slug }, account, transfer)?;
    Ok(repeated(Confirmed::of(result.unwrap_or(Value::Null))))
}

/// The first answer, marked as such; it says that nothing happened now.
fn repeated(first: Confirmed) -> Confirmed {
    let mut data = first.data;
    data["already_confirmed"] = Value::Bool(true);
    Confirmed { data, message: format!("Already confirmed, nothing changed now. {}", first.message) }
}

async fn payee_in(connection: &mut PgConnection, payee: &Payee) -> Result<AccountId, BillingError> {
    let account = match payee {
        Payee::Account(account) => Some(*account),
        Payee::Slug(slug) => accounts::store::find_by_slug(connection, slug).await?,
        Payee::Invoice(number) => store::find_account_of_invoice(connection, number).await?,
    };
    account.ok_or(BillingError::Account(AccountError::NotFound))
}

/// Takes the money. Everything is locked and judged before the first row is written.
async fn take_in(
    connection: &mut PgConnection,
    account: AccountId,
    transfer: &Transfer,
    by: &Confirmer,
    terms: Terms,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let held = accounts::life::hold_in(connection, account, terms.grace, now).await?;
    let open = store::lock_open_invoice(connection, account).await?;
    let plan = plan_paid_for(connection, transfer, open.as_ref(), &held).await?;
    rules::payable_by_transfer(&plan)?;
    let (owed, invoiced) = rules::owed(&plan, open.as_ref());
    rules::settles(transfer, owed, invoiced.map_or(CURRENCY, |invoice| invoice.currency.as_str()))?;
    let invoice = match (invoiced, &open) {
        (Some(invoice), _) => invoice.clone(),
        (None, other) => {
            if let Some(other) = other {
                store::mark_invoice(connection, account, other.id, InvoiceStatus::Void, now).await?;
            }
            invoice_in(connection, account, &plan, (purpose_of(&held, &plan), PaymentMethod::BankTransfer), terms, now).await?
        }
    };
    settle_in(connection, &held, (&plan, invoice), transfer, by, now).await
}

/// `plan_slug`, else the open invoice's plan, else the account's own paid plan, which makes it a renewal.
async fn plan_paid_for(
    connection: &mut PgConnection,
    transfer: &Transfer,
    open: Option<&Invoice>,
    held: &Held,
) -> Result<Plan, BillingError> {
    if let Some(slug) = &transfer.plan_slug {
        return plans::store::find_plan_by_slug(&mut *connection, slug).await?.ok_or(BillingError::UnknownPlan);
    }
    let plan = match open.map(|invoice| invoice.plan).or(held.row.plan) {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?),
        None => None,
    };
    let paid = |plan: &Plan| open.is_some() || !plan.price.is_zero();
    plan.filter(paid).ok_or(Unpayable::NoPlan.into())
}

async fn settle_in(
    connection: &mut PgConnection,
    held: &Held,
    (plan, invoice): (&Plan, Invoice),
    transfer: &Transfer,
    by: &Confirmer,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let account = held.row.id;
    let currency = invoice.currency.clone();
    let new = NewTransfer {
        external_payment_id: &transfer.external_payment_id,
        invoice: invoice.id,
        plan: plan.id,
        amount: transfer.amount,
        currency: &currency,
        payer_name: &transfer.payer_name,
        paid_on: transfer.paid_on,
        note: transfer.note.as_deref().unwrap_or(""),
    };
    let payment = payments::store::insert_transfer(connection, account, &new, now).await?;
    let paid = Paid {
        payment,
        method: PaymentMethod::BankTransfer,
        external_payment_id: transfer.external_payment_id.clone(),
        amount: transfer.amount,
    };
    let hold = match held.standing.account {
        AccountStatus::Suspended | AccountStatus::Cancelled => Hold::Lost,
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment => Hold::Kept,
    };
    let before_plan = match held.row.plan {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?.slug),
        None => None,
    };
    let started =
        subscriptions::service::apply_payment_in(connection, account, (held.subscription.as_ref(), hold), plan, &paid, now).await?;
    let reset = credits::service::reset_in(connection, account, started.period_seq, plan, &by.origin.actor, now).await?;
    let status =
        accounts::life::move_in(connection, account, held.standing.account, (AccountEvent::PaymentConfirmed, None), &by.origin, now)
            .await?;
    accounts::store::mark_plan(connection, account, plan.id, Some(PaymentMethod::BankTransfer), now).await?;
    let invoice = close_invoice_in(connection, account, invoice, now).await?;
    let changes = changes(held, before_plan, plan, &started, (reset.before, reset.after), status);
    let message = message(plan, held, &started, (reset.before, reset.after), transfer);
    let data = Confirmation {
        account: Account {
            id: account,
            name: held.row.name.clone(),
            slug: held.row.slug.clone(),
            status,
            credits: reset.after,
            pools: reset.pools,
            payment_method: Some(PaymentMethod::BankTransfer),
            plan: Some(plan.clone()),
            subscription: Some(started.subscription.clone()),
        },
        subscription: started.subscription,
        payment: Payment {
            id: payment,
            external_payment_id: transfer.external_payment_id.clone(),
            payment_method: PaymentMethod::BankTransfer,
            status: PaymentStatus::Confirmed,
            invoice_id: Some(invoice.id),
            amount: transfer.amount,
            currency: invoice.currency.clone(),
            payer_name: transfer.payer_name.clone(),
            paid_on: transfer.paid_on,
            confirmed_at: Some(now),
            created_at: now,
        },
        invoice,
        transaction: reset.grant,
        changes,
        already_confirmed: false,
        dry_run: transfer.run == Run::Dry,
    };
    finish_in(connection, account, data, message, (transfer, by), now).await
}

/// Keeps the answer with the payment, writes the log, and gives the answer.
async fn finish_in(
    connection: &mut PgConnection,
    account: AccountId,
    data: Confirmation,
    message: String,
    (transfer, by): (&Transfer, &Confirmer),
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let target = format!("payment:{}", data.payment.id);
    let before = data.changes.iter().map(|(field, [before, _])| ((*field).to_owned(), before.clone())).collect::<serde_json::Map<_, _>>();
    let after = data.changes.iter().map(|(field, [_, after])| ((*field).to_owned(), after.clone())).collect::<serde_json::Map<_, _>>();
    record_in(
        connection,
        account,
        "transfer.confirmed",
        target,
        (before.into(), after.into()),
        transfer.mismatch_accepted_because.clone(),
        &by.origin,
        now,
    )
    .await?;
    let payment = data.payment.id;
    let confirmed = Confirmed { data: written(&data)?, message };
    match payments::store::mark_confirmed(connection, account, payment, by.user, &confirmed.value(), now).await? {
        1 => Ok(confirmed),
        _ => Err(StoreError::from(sqlx::Error::RowNotFound).into()),
    }
}

async fn close_invoice_in(
    connection: &mut PgConnection,
    account: AccountId,
    invoice: Invoice,
    now: Timestamp,
) -> Result<Invoice, BillingError> {
    match store::mark_invoice(connection, account, invoice.id, InvoiceStatus::Paid, now).await? {
        1 => Ok(Invoice { status: InvoiceStatus::Paid, paid_at: Some(now), ..invoice }),
        _ => Err(StoreError::from(sqlx::Error::RowNotFound).into()),
    }
}

/// Every field that the confirmation changed, before and after.
fn changes(
    held: &Held,
    before_plan: Option<String>,
    plan: &Plan,
    started: &Started,
    (credits, credits_after): (Credits, Credits),
    status: AccountStatus,
) -> BTreeMap<&'static str, [Value; 2]> {
    let before = held.subscription.as_ref().map(|locked| &locked.subscription);
    let after = &started.subscription;
    let method = PaymentMethod::BankTransfer;
    let all = [
        ("account.status", [json!(held.standing.account), json!(status)]),
        ("account.plan", [json!(before_plan), json!(plan.slug)]),
        ("account.credits", [json!(credits), json!(credits_after)]),
        ("account.payment_method", [json!(held.row.payment_method), json!(method)]),
        ("subscription.status", [json!(before.map(|before| before.status)), json!(after.status)]),
        ("subscription.current_period_start", [json!(before.map(|before| before.current_period_start)), json!(after.current_period_start)]),
        ("subscription.current_period_end", [json!(before.map(|before| before.current_period_end)), json!(after.current_period_end)]),
        ("subscription.external_payment_id", [json!(before.map(|before| &before.external_payment_id)), json!(after.external_payment_id)]),
        ("invoice.status", [json!(InvoiceStatus::Open), json!(InvoiceStatus::Paid)]),
    ];
    all.into_iter().filter(|(_, [before, after])| before != after).collect()
}

/// One sentence that an admin can read in a terminal.
fn message(plan: &Plan, held: &Held, started: &Started, (before, after): (Credits, Credits), transfer: &Transfer) -> String {
    let verb = match started.kind {
        PeriodKind::Renewal => "is renewed",
        PeriodKind::Activation | PeriodKind::Trial | PeriodKind::Manual => "is active",
    };
    let until = started.subscription.current_period_end.format("%Y-%m-%d");
    let prefix = if transfer.run == Run::Dry { "Dry run, nothing written: " } else { "" };
    let (slug, account, reference) = (&held.row.slug, held.row.id, &transfer.external_payment_id);
    format!("{prefix}{} {verb} for {slug} (account {account}) until {until}; credits {before} → {after}; reference {reference}.", plan.name)
}
