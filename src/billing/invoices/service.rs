//! Withdraws invoices.

use crate::{
    accounts,
    audit::model::Origin,
    billing::{
        invoices::model::Withdrawn,
        model::{Confirmed, InvoiceStatus, Run},
        service::{BillingError, changed, end, get_invoice_in, record_in, written},
        store,
    },
    clock::Timestamp,
    db,
    db::Pool,
    ids::InvoiceId,
};
use chrono::TimeDelta;
use serde_json::json;

/// Withdraws an open invoice by staff's hand. What was paid towards it stays on the account and counts for the next one.
pub async fn withdraw(
    pool: &Pool,
    invoice: InvoiceId,
    (reason, run): (&str, Run),
    grace: TimeDelta,
    origin: &Origin,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let account = store::find_account_of_invoice_id(&mut *tx, invoice).await?.ok_or(BillingError::NotFound)?;
        // Locked before it is judged: a confirmation under way holds the account too.
        accounts::life::hold_in(&mut tx, account, grace, now).await?;
        let before = get_invoice_in(&mut tx, account, invoice).await?;
        if store::mark_invoice(&mut tx, account, invoice, InvoiceStatus::Void, now).await? != 1 {
            return Err(BillingError::InvoiceNotOpen(before.status));
        }
        let change = (json!({"status": before.status}), json!({"status": InvoiceStatus::Void}));
        let (target, because) = (format!("invoice:{invoice}"), Some(reason.to_owned()));
        record_in(&mut tx, account, "invoice.voided", target, change, because, origin, now).await?;
        let after = get_invoice_in(&mut tx, account, invoice).await?;
        end(tx, run).await?;
        let message = format!("{}Invoice {} is void.", run.prefix(), after.number);
        let changes = changed([("invoice.status", [json!(before.status), json!(after.status)])]);
        Ok(Confirmed { data: written(&Withdrawn { invoice: after, changes, dry_run: run == Run::Dry })?, message })
    })
    .await
}
