//! Rejections. Approvals are confirmations: see `billing/confirmation.rs`.

use crate::{
    audit::model::Origin,
    billing::{
        model::{Confirmed, PaymentStatus, Run},
        notices,
        payments::store,
        queue::model::RejectedPayment,
        service::{BillingError, changed, end, record_in, written},
    },
    clock::Timestamp,
    db,
    db::Pool,
    ids::{PaymentId, UserId},
    mail::service::Outbox,
};
use serde_json::json;

/// An admin's word on a report.
#[derive(Debug, Clone, Copy)]
pub struct Judgement<'a> {
    /// The admin.
    pub by: UserId,
    /// Why.
    pub reason: &'a str,
    /// Whether anything is to be kept.
    pub run: Run,
}

/// Says that the reported money did not come, and why; the customer is written to.
pub async fn reject(
    pool: &Pool,
    payment: PaymentId,
    judgement: Judgement<'_>,
    outbox: Outbox<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let Judgement { by, reason, run } = judgement;
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let seen = store::find_payment(&mut *tx, payment).await?.ok_or(BillingError::NotFound)?;
        store::lock_transfer(&mut tx, &seen.payment.external_payment_id).await?;
        let account = seen.account;
        if store::mark_rejected(&mut tx, account, payment, (by, reason), now).await? != 1 {
            // Judged by another admin meanwhile: his word stands.
            let stored = store::find_payment(&mut *tx, payment).await?.ok_or(BillingError::NotFound)?;
            return Err(BillingError::PaymentNotPending(stored.payment.status));
        }
        let change = (json!({"status": PaymentStatus::PendingApproval}), json!({"status": PaymentStatus::Rejected}));
        let (target, because) = (format!("payment:{payment}"), Some(reason.to_owned()));
        record_in(&mut tx, account, "transfer.rejected", target, change, because, origin, now).await?;
        let rejected = store::find_payment(&mut *tx, payment).await?.ok_or(BillingError::NotFound)?.payment;
        notices::rejected_in(&mut tx, account, outbox, &rejected, now).await?;
        end(tx, run).await?;
        let message = format!("{}Payment {payment} is rejected; the customer is written to.", run.prefix());
        let changes = changed([("payment.status", [json!(PaymentStatus::PendingApproval), json!(PaymentStatus::Rejected)])]);
        Ok(Confirmed { data: written(&RejectedPayment { payment: rejected, changes, dry_run: run == Run::Dry })?, message })
    })
    .await
}
