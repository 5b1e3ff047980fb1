//! Writes the invoices of renewals, each in a transaction of its own.

use super::{rules, store};
use crate::{
    accounts,
    audit::model::Origin,
    billing::{
        model::InvoicePurpose,
        notices,
        rules::payable,
        service::{BillingError, NewInvoiceTerms, Terms, invoice_in, record_in},
        store as invoices,
    },
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, PaymentMethod},
    plans,
};
use chrono::TimeDelta;
use serde_json::json;

/// Accounts looked up at once.
const BATCH: i64 = 500;

/// Writes the invoice of every renewal that is due `ahead` of its period's end, and mails it: once, however many instances
/// look, and however late. Gives how many. One that fails keeps no other from its own, and is tried again.
pub async fn invoice_due(pool: &Pool, terms: Terms<'_>, ahead: TimeDelta, now: Timestamp) -> Result<usize, BillingError> {
    let (mut written, mut after) = (0, AccountId(0));
    loop {
        let ending = store::list_ending(pool, after, (now - terms.grace, now + ahead), BATCH).await?;
        let Some(last) = ending.last() else { return Ok(written) };
        after = *last;
        for account in ending {
            match db::retried(|| invoice_renewal(pool, account, terms, ahead, now)).await {
                Ok(is_written) => written += usize::from(is_written),
                Err(error) => tracing::error!(account = account.0, %error, "a renewal was not invoiced; it is tried again"),
            }
        }
    }
}

async fn invoice_renewal(
    pool: &Pool,
    account: AccountId,
    terms: Terms<'_>,
    ahead: TimeDelta,
    now: Timestamp,
) -> Result<bool, BillingError> {
    let mut tx = db::begin(pool).await?;
    if !accounts::store::claim_account(&mut tx, account).await? {
        return Ok(false);
    }
    let held = accounts::life::hold_in(&mut tx, account, terms.grace, now).await?;
    let Some(subscription) = &held.subscription else { return Ok(false) };
    let Some(plan) = rules::renewal_due(held.standing.account, subscription, ahead, now) else { return Ok(false) };
    let plan = plans::store::get_plan(&mut *tx, plan).await?;
    if payable(&plan).is_err() || invoices::lock_open_invoice(&mut tx, account).await?.is_some() {
        return Ok(false);
    }
    let ends_at = subscription.subscription.current_period_end;
    let method = held.row.payment_method.unwrap_or(PaymentMethod::BankTransfer);
    let new = NewInvoiceTerms { purpose: InvoicePurpose::Renewal, method, due_at: ends_at.max(now) };
    let invoice = invoice_in(&mut tx, account, &plan, new, now).await?;
    let after = json!({"plan": plan.slug, "amount": invoice.amount, "renews_from": ends_at});
    let target = format!("invoice:{}", invoice.id);
    record_in(&mut tx, account, "invoice.created", target, (json!({}), after), None, &Origin::system(), now).await?;
    notices::renewal_invoiced_in(&mut tx, account, terms.outbox, (&invoice, ends_at), now).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(true)
}
