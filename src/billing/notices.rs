//! Mails about money, written in the transaction of what happened. They go to the billing address, else to the first owner.

use super::{
    model::{Invoice, Payment},
    reminders::{
        model::{Ending, Moment},
        rules::told,
    },
};
use crate::{
    accounts, auth,
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, InvoiceId},
    mail::{
        letters,
        model::{Delivery, Letter, Mail, MailKind},
        service::Outbox,
    },
};
use sqlx::PgConnection;

/// Money came. With nothing outstanding it is the invoice's receipt.
pub async fn confirmed_in(
    connection: &mut PgConnection,
    account: AccountId,
    outbox: Outbox<'_>,
    (payment, invoice): (&Payment, &Invoice),
    now: Timestamp,
) -> Result<(), StoreError> {
    let amount = format!("{} {}", payment.amount, payment.currency);
    let outstanding = (!invoice.outstanding.is_zero()).then(|| format!("{} {}", invoice.outstanding, invoice.currency));
    let letter = letters::payment_confirmed(&invoice_page(outbox.app_url, invoice.id), &amount, &invoice.number, outstanding.as_deref());
    tell_in(connection, (account, outbox), (MailKind::PaymentConfirmed, format!("payment_confirmed:{}", payment.id)), letter, now).await
}

/// Money that was reported did not come.
pub async fn rejected_in(
    connection: &mut PgConnection,
    account: AccountId,
    outbox: Outbox<'_>,
    payment: &Payment,
    now: Timestamp,
) -> Result<(), StoreError> {
    let page = payment.invoice_id.map_or_else(|| outbox.app_url.to_owned(), |invoice| invoice_page(outbox.app_url, invoice));
    let reason = payment.reason.as_deref().unwrap_or("");
    let letter =
        letters::payment_rejected(&page, &format!("{} {}", payment.amount, payment.currency), &payment.external_payment_id, reason);
    tell_in(connection, (account, outbox), (MailKind::PaymentRejected, format!("payment_rejected:{}", payment.id)), letter, now).await
}

/// Money that had come was taken back.
pub async fn reversed_in(
    connection: &mut PgConnection,
    account: AccountId,
    outbox: Outbox<'_>,
    payment: &Payment,
    now: Timestamp,
) -> Result<(), StoreError> {
    let page = payment.invoice_id.map_or_else(|| outbox.app_url.to_owned(), |invoice| invoice_page(outbox.app_url, invoice));
    let letter = letters::payment_reversed(&page, &format!("{} {}", payment.amount, payment.currency), &payment.external_payment_id);
    tell_in(connection, (account, outbox), (MailKind::PaymentReversed, format!("payment_reversed:{}", payment.id)), letter, now).await
}

/// The next period is invoiced, which begins at `renews_from`.
pub async fn renewal_invoiced_in(
    connection: &mut PgConnection,
    account: AccountId,
    outbox: Outbox<'_>,
    (invoice, renews_from): (&Invoice, Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    let amount = format!("{} {}", invoice.outstanding, invoice.currency);
    let day = renews_from.format("%Y-%m-%d").to_string();
    let letter = letters::renewal_invoiced(&invoice_page(outbox.app_url, invoice.id), &invoice.number, &amount, &invoice.reference, &day);
    tell_in(connection, (account, outbox), (MailKind::RenewalInvoiced, format!("renewal_invoiced:{}", invoice.id)), letter, now).await
}

/// A period ends or has ended.
pub async fn reminded_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    (ending, moment): (&Ending, Moment),
    now: Timestamp,
) -> Result<(), StoreError> {
    let (subject, first) = told(ending, moment, now);
    let owed = ending.owed.as_ref().map(|owed| (format!("{} {}", owed.outstanding, owed.currency), owed.reference.as_str()));
    let page =
        ending.owed.as_ref().map_or_else(|| format!("{}/billing", outbox.app_url), |owed| invoice_page(outbox.app_url, owed.invoice));
    let letter =
        letters::renewal_reminder(&page, (&subject, &first), owed.as_ref().map(|(amount, reference)| (amount.as_str(), *reference)));
    let key = format!("renewal_reminder:{}:{}:{moment}", ending.account, ending.ends_at.timestamp_micros());
    tell_in(connection, (ending.account, outbox), (MailKind::RenewalReminder, key), letter, now).await
}

/// Where the web app shows an invoice and gives it as a PDF.
fn invoice_page(app_url: &str, invoice: InvoiceId) -> String {
    format!("{app_url}/billing/invoices/{invoice}")
}

async fn tell_in(
    connection: &mut PgConnection,
    (account, outbox): (AccountId, Outbox<'_>),
    (kind, dedupe_key): (MailKind, String),
    letter: Letter,
    now: Timestamp,
) -> Result<(), StoreError> {
    let billing_email = accounts::store::find_details(&mut *connection, account).await?.and_then(|found| found.details.billing_email);
    let recipient = match billing_email {
        Some(email) => Some(email),
        None => auth::members::store::find_owner_email(connection, account).await?,
    };
    let Some(recipient) = recipient else { return Ok(()) };
    outbox.enqueue_in(connection, &Mail { kind, dedupe_key, recipient: &recipient, letter }, Delivery::Send, now).await
}
