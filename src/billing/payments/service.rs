//! Reports: a customer says that he has paid. Nothing activates by it.

use super::{
    model::Report,
    rules::{self, ReportFault},
    store::{self, NewTransfer},
};
use crate::{
    accounts::{self, life::AccountError},
    audit::model::Origin,
    billing::{
        self,
        keys::{recall_in, remember_in},
        model::{Invoice, InvoiceStatus, Payment},
        service::{BillingError, Replayable, record_in, written},
    },
    clock::Timestamp,
    db::{self, Pool, StoreError},
    idempotency::model::Keyed,
    ids::{AccountId, InvoiceId},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Writes a report into the admins' queue. The same report again is the same payment; one reference is one report.
pub async fn report(
    pool: &Pool,
    account: AccountId,
    (invoice, report): (InvoiceId, &Report),
    key: Option<&Keyed>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Replayable<Value>, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((first, true));
        }
        let payment = report_in(&mut tx, account, (invoice, report), origin, now).await?;
        let answer = written(&payment)?;
        remember_in(&mut tx, account, key, (201, &answer), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok((answer, false))
    })
    .await
}

async fn report_in(
    connection: &mut PgConnection,
    account: AccountId,
    (invoice, report): (InvoiceId, &Report),
    origin: &Origin,
    now: Timestamp,
) -> Result<Payment, BillingError> {
    store::lock_transfer(connection, &report.reference).await?;
    accounts::store::lock_account(connection, account).await?.ok_or(AccountError::NotFound)?;
    let invoice = billing::store::find_invoice(&mut *connection, account, invoice).await?.ok_or(BillingError::NotFound)?;
    let faults = rules::faults(report, &invoice, now);
    if !faults.is_empty() {
        return Err(BillingError::Report(faults));
    }
    if let Some(known) = known_in(connection, account, &invoice, report).await? {
        return Ok(known);
    }
    if invoice.status != InvoiceStatus::Open {
        return Err(BillingError::InvoiceNotOpen(invoice.status));
    }
    if store::count_pending(connection, account).await? >= rules::PENDING_MAX {
        return Err(BillingError::TooManyReports);
    }
    let new = NewTransfer {
        external_payment_id: &report.reference,
        invoice: invoice.id,
        plan: invoice.plan,
        amount: report.amount,
        currency: &invoice.currency,
        payer_name: &report.payer_name,
        paid_on: Some(report.paid_on),
        note: report.note.as_deref().unwrap_or(""),
    };
    let id = store::insert_transfer(connection, account, &new, now).await?;
    let after = json!({"invoice": invoice.number, "reference": report.reference, "amount": report.amount});
    record_in(connection, account, "transfer.reported", format!("payment:{id}"), (json!({}), after), None, origin, now).await?;
    Ok(store::find_payment(connection, id).await?.ok_or(BillingError::NotFound)?.payment)
}

/// What is known of the reference already: the same report is the same payment, anything else is told. What another account
/// did with the reference is not: it would tell a stranger's payments.
async fn known_in(
    connection: &mut PgConnection,
    account: AccountId,
    invoice: &Invoice,
    report: &Report,
) -> Result<Option<Payment>, BillingError> {
    let confirmed = store::find_transfer(&mut *connection, &report.reference).await?.filter(|known| known.account == account);
    if let Some(confirmed) = confirmed {
        return Err(BillingError::AlreadyReported(confirmed.payment.status));
    }
    let Some(pending) = store::find_pending(connection, account, &report.reference).await? else { return Ok(None) };
    let payment = pending.payment;
    let is_same = payment.invoice_id == Some(invoice.id)
        && payment.amount == report.amount
        && payment.payer_name == report.payer_name
        && payment.paid_on == Some(report.paid_on)
        && pending.note == report.note.as_deref().unwrap_or("");
    if is_same { Ok(Some(payment)) } else { Err(BillingError::AlreadyReported(payment.status)) }
}

/// What is wrong with a field of a report, as its reader is told: the field, and a sentence.
pub fn told(fault: &ReportFault) -> (&'static str, String) {
    match fault {
        ReportFault::NoAmount => ("amount", "Give an amount above zero.".to_owned()),
        ReportFault::AbsurdAmount => ("amount", "This is far more than the invoice asks for; check the amount.".to_owned()),
        ReportFault::Currency(currency) => ("currency", format!("The invoice is in {currency}; transfer in that currency.")),
        ReportFault::InFuture => ("paid_on", "This day has not begun; report the transfer when it is made.".to_owned()),
        ReportFault::TooOld => ("paid_on", "This is more than a year ago; contact support.".to_owned()),
    }
}
