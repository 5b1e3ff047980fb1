//! Rejections. Approvals are confirmations: see `billing/confirmation.rs`.

use crate::{
    audit::model::Origin,
    billing::{
        model::{Payment, PaymentStatus},
        notices,
        payments::store,
        service::{BillingError, record_in},
    },
    clock::Timestamp,
    db::{self, StoreError},
    ids::{PaymentId, UserId},
    mail::service::Outbox,
};
use serde_json::json;
use sqlx::PgPool;

/// Says that the reported money did not come, and why; the customer is written to.
pub async fn reject(
    pool: &PgPool,
    payment: PaymentId,
    (by, reason): (UserId, &str),
    outbox: Outbox<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Payment, BillingError> {
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
        tx.commit().await.map_err(StoreError::from)?;
        Ok(rejected)
    })
    .await
}
