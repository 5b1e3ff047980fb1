//! Takes a confirmed transfer back: one transaction; the lock order is that of confirmations.

use super::model::Reversal;
use crate::{
    accounts::{self, life::Held, model::AccountStatus, rules::AccountEvent},
    billing::{
        balance::{
            self,
            model::{Cause, Direction},
        },
        confirmation::Confirmer,
        keys::{recall_in, remember_in},
        model::{Confirmed, Invoice, InvoiceStatus, PaymentStatus, Run},
        notices,
        payments::{self, store::StoredPayment},
        service::{BillingError, Replayable, Terms, get_invoice_in, record_in, written},
        store,
    },
    clock::Timestamp,
    credits::{self, model::TakenBack, service::TimeLeft},
    db::{self, Pool, StoreError},
    ids::AccountId,
    money::Credits,
    plans,
    subscriptions::{
        self,
        model::Subscription,
        rules::{LaterPeriod, Undoing},
    },
};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Takes a transfer back, by the bank's reference. Taken back again, it is the first answer and no second effect.
pub async fn reverse(
    pool: &Pool,
    (external_payment_id, reason, run): (&str, &str, Run),
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some((home, key)) = &by.key
            && let Some(first) = recall_in(&mut tx, *home, Some(key)).await?
        {
            return Ok((Confirmed::of(first), true));
        }
        payments::store::lock_transfer(&mut tx, external_payment_id).await?;
        let stored = payments::store::find_transfer(&mut *tx, external_payment_id).await?.ok_or(BillingError::NotFound)?;
        let reversed = match stored.payment.status {
            PaymentStatus::Reversed => repeated(Confirmed::of(stored.reversal_result.unwrap_or(Value::Null))),
            PaymentStatus::Confirmed | PaymentStatus::PendingApproval | PaymentStatus::Rejected => {
                reverse_in(&mut tx, &stored, (reason, run), by, terms, now).await?
            }
        };
        if let Some((home, key)) = &by.key {
            remember_in(&mut tx, *home, Some(key), (200, &reversed.value()), now).await?;
        }
        match run {
            Run::Real => tx.commit().await.map_err(StoreError::from)?,
            Run::Dry => tx.rollback().await.map_err(StoreError::from)?,
        }
        Ok((reversed, false))
    })
    .await
}

/// The first answer, marked as such.
fn repeated(first: Confirmed) -> Confirmed {
    let mut data = first.data;
    data["already_reversed"] = Value::Bool(true);
    Confirmed { data, message: format!("Already reversed, nothing changed now. {}", first.message) }
}

/// What ended, and what is left.
struct Undone {
    status: AccountStatus,
    subscription: Option<Subscription>,
    credits: Option<TakenBack>,
    pools: [Credits; 2],
    plan: Option<String>,
}

async fn reverse_in(
    connection: &mut PgConnection,
    stored: &StoredPayment,
    (reason, run): (&str, Run),
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let (account, payment) = (stored.account, &stored.payment);
    let held = accounts::life::hold_in(connection, account, terms.grace, now).await?;
    let paid_for = payment.invoice_id.ok_or(BillingError::NotFound)?;
    let open = store::lock_open_invoice(connection, account).await?;
    let invoice = get_invoice_in(connection, account, paid_for).await?;
    let undone = match invoice.status {
        InvoiceStatus::Paid => unsettle_in(connection, &held, &invoice, (stored, by), now).await?,
        InvoiceStatus::Open | InvoiceStatus::Void => nothing_undone(connection, &held, now).await?,
    };
    give_money_back_in(connection, stored, &invoice, now).await?;
    match (invoice.status, open) {
        (InvoiceStatus::Open | InvoiceStatus::Void, _) => {}
        (InvoiceStatus::Paid, None) => drop(store::mark_reopened(connection, account, invoice.id).await?),
        (InvoiceStatus::Paid, Some(_)) => drop(store::mark_withdrawn(connection, account, invoice.id, now).await?),
    }
    let after = get_invoice_in(connection, account, invoice.id).await?;
    let changes = changes(&held, &undone, (&invoice, &after));
    let mut reversed = payment.clone();
    (reversed.status, reversed.reason) = (PaymentStatus::Reversed, Some(reason.to_owned()));
    let message = message(&held, &undone, stored, &after, run);
    let data = Reversal {
        account_id: account,
        status: undone.status,
        subscription: undone.subscription,
        payment: reversed,
        invoice: after,
        credits: undone.credits,
        changes,
        already_reversed: false,
        dry_run: run == Run::Dry,
    };
    finish_in(connection, data, message, (reason, by), terms, now).await
}

/// Keeps the answer with the payment, writes the log and the customer's mail.
async fn finish_in(
    connection: &mut PgConnection,
    data: Reversal,
    message: String,
    (reason, by): (&str, &Confirmer),
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let (account, payment) = (data.account_id, data.payment.id);
    let side = |at: usize| data.changes.iter().map(|(field, sides)| ((*field).to_owned(), sides[at].clone())).collect::<Map<_, _>>();
    let (change, because) = ((side(0).into(), side(1).into()), Some(reason.to_owned()));
    record_in(connection, account, "transfer.reversed", format!("payment:{payment}"), change, because, &by.origin, now).await?;
    notices::reversed_in(connection, account, terms.outbox, &data.payment, now).await?;
    let reversed = Confirmed { data: written(&data)?, message };
    match payments::store::mark_reversed(connection, account, payment, (by.user, reason, &reversed.value()), now).await? {
        1 => Ok(reversed),
        _ => Err(StoreError::from(sqlx::Error::RowNotFound).into()),
    }
}

/// Ends the time that the invoice had bought, whichever of its transfers is taken back, and takes back its credits.
async fn unsettle_in(
    connection: &mut PgConnection,
    held: &Held,
    invoice: &Invoice,
    (stored, by): (&StoredPayment, &Confirmer),
    now: Timestamp,
) -> Result<Undone, BillingError> {
    let account = held.row.id;
    let payments = payments::store::list_ids_of_invoice(connection, account, invoice.id).await?;
    let period = subscriptions::store::find_period_bought(connection, account, &payments).await?;
    let period = period.ok_or_else(|| StoreError::from(sqlx::Error::RowNotFound))?;
    let undoing = subscriptions::service::reverse_in(connection, account, period, now).await?;
    let undoing = undoing.map_err(|LaterPeriod(reference)| BillingError::LaterTransfer(reference))?;
    let (left, plan) = match &undoing {
        Undoing::Past | Undoing::Last | Undoing::Ends => (TimeLeft::None, None),
        Undoing::Ahead(before) | Undoing::Resumes(before) => (TimeLeft::Some, Some(before.plan)),
    };
    if let Some(plan) = plan {
        accounts::store::mark_plan(connection, account, plan, None, now).await?;
        keep_wish_in(connection, held, now).await?;
    }
    let (reference, actor) = (&stored.payment.external_payment_id, &by.origin.actor);
    let (credits, pools) = credits::service::take_back_in(connection, account, (period, left), reference, actor, now).await?;
    let status = status_in(connection, held, &undoing, by, now).await?;
    let plan = match plan.or(held.row.plan) {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?.slug),
        None => None,
    };
    let subscription = subscriptions::store::lock_subscription(connection, account).await?.map(|locked| locked.subscription);
    Ok(Undone { status, subscription, credits: Some(credits), pools, plan })
}

/// A wish to cancel at the period's end outlives the reversal.
async fn keep_wish_in(connection: &mut PgConnection, held: &Held, now: Timestamp) -> Result<(), StoreError> {
    let Some(before) = held.subscription.as_ref().filter(|locked| locked.subscription.cancel_at_period_end) else { return Ok(()) };
    subscriptions::store::mark_status(connection, held.row.id, before.subscription.status, true, now).await
}

/// Moves the account by the table: with time left from before it waits for payment, without it is suspended.
async fn status_in(
    connection: &mut PgConnection,
    held: &Held,
    undoing: &Undoing,
    by: &Confirmer,
    now: Timestamp,
) -> Result<AccountStatus, BillingError> {
    let from = held.standing.account;
    let is_running = match from {
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment => !held.row.is_system,
        AccountStatus::Suspended | AccountStatus::Cancelled => false,
    };
    let event = match undoing {
        Undoing::Past | Undoing::Ahead(_) => return Ok(from),
        Undoing::Resumes(_) => AccountEvent::PaymentReversed,
        Undoing::Last | Undoing::Ends => AccountEvent::PeriodLapsed,
    };
    if !is_running {
        return Ok(from);
    }
    let event = (event, Some("the transfer that paid for it was taken back"));
    Ok(accounts::life::move_in(connection, held.row.id, from, event, &by.origin, now).await?)
}

/// Of a transfer that had bought no time.
async fn nothing_undone(connection: &mut PgConnection, held: &Held, now: Timestamp) -> Result<Undone, BillingError> {
    let total = credits::lots::service::lock_in(connection, held.row.id, now).await?.map_or(Credits::ZERO, |pools| pools.total());
    let plan = match held.row.plan {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?.slug),
        None => None,
    };
    let subscription = held.subscription.as_ref().map(|locked| locked.subscription.clone());
    Ok(Undone { status: held.standing.account, subscription, credits: None, pools: [total, total], plan })
}

/// A paid invoice gives back what it took, what was let go is no longer, and the transfer's money leaves.
async fn give_money_back_in(
    connection: &mut PgConnection,
    stored: &StoredPayment,
    invoice: &Invoice,
    now: Timestamp,
) -> Result<(), BillingError> {
    let account: AccountId = stored.account;
    let mut kept = balance::store::lock_balance(connection, account).await?;
    if invoice.status == InvoiceStatus::Paid {
        let waived = balance::store::waived(connection, account, invoice.id).await?;
        let settlement = (Cause::Settlement(invoice.id), Direction::In, invoice.amount);
        kept = balance::service::move_in(connection, account, kept, settlement, now).await?;
        kept = balance::service::move_in(connection, account, kept, (Cause::Waiver(invoice.id), Direction::Out, waived), now).await?;
    }
    let leaving = (Cause::Payment(stored.payment.id), Direction::Out, stored.payment.amount);
    balance::service::move_in(connection, account, kept, leaving, now).await?;
    Ok(())
}

fn changes(held: &Held, undone: &Undone, (before, after): (&Invoice, &Invoice)) -> BTreeMap<&'static str, [Value; 2]> {
    let subscription = held.subscription.as_ref().map(|locked| &locked.subscription);
    let ends = |subscription: Option<&Subscription>| json!(subscription.map(|subscription| subscription.current_period_end));
    let status = |subscription: Option<&Subscription>| json!(subscription.map(|subscription| subscription.status));
    let now = undone.subscription.as_ref();
    let all = [
        ("account.status", [json!(held.standing.account), json!(undone.status)]),
        ("account.credits", [json!(undone.pools[0]), json!(undone.pools[1])]),
        ("account.money_balance", [json!(before.account_balance), json!(after.account_balance)]),
        ("subscription.status", [status(subscription), status(now)]),
        ("subscription.current_period_end", [ends(subscription), ends(now)]),
        ("invoice.status", [json!(before.status), json!(after.status)]),
        ("invoice.paid", [json!(before.paid), json!(after.paid)]),
        ("payment.status", [json!(PaymentStatus::Confirmed), json!(PaymentStatus::Reversed)]),
    ];
    all.into_iter().filter(|(_, [before, after])| before != after).collect()
}

/// One sentence that an admin can read in a terminal.
fn message(held: &Held, undone: &Undone, stored: &StoredPayment, invoice: &Invoice, run: Run) -> String {
    let prefix = run.prefix();
    let (reference, slug, account) = (&stored.payment.external_payment_id, &held.row.slug, held.row.id);
    let credits = undone.credits.as_ref().map_or_else(String::new, |credits| {
        format!("; of {} credits {} are taken back and {} were spent", credits.granted, credits.taken_back, credits.spent)
    });
    let plan = undone.plan.as_deref().unwrap_or("no plan");
    let (status, number, stands) = (undone.status, &invoice.number, invoice.status);
    format!(
        "{prefix}{reference} of {slug} (account {account}) is reversed: the account is {status} on {plan}{credits}; invoice {number} is {stands}."
    )
}
