//! One transaction each, once per Idempotency-Key.

use crate::{
    accounts::{self, life::AccountError},
    audit::model::Origin,
    billing::service::{BillingError, Replayable, recall_in, remember_in, written},
    clock::Timestamp,
    credits::{
        refunds::service::{Refund, refund_in},
        service::{StaffMove, adjust_in},
    },
    db::{self, StoreError},
    idempotency::model::Keyed,
    ids::AccountId,
    meters,
};
use serde_json::Value;
use sqlx::PgPool;

/// Moves an account's credits by staff's hand.
pub async fn adjust(
    pool: &PgPool,
    account: AccountId,
    by: &StaffMove<'_>,
    key: Option<&Keyed>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Replayable<Value>, BillingError> {
    let done = db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        accounts::store::lock_account(&mut tx, account).await?.ok_or(AccountError::NotFound)?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((first, true));
        }
        let answer = written(&adjust_in(&mut tx, account, by, origin, now).await?)?;
        remember_in(&mut tx, account, key, (201, &answer), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok::<_, BillingError>((answer, false))
    })
    .await?;
    if !done.1 {
        // What is taken is nothing that was granted.
        meters::granted(meters::Cause::Staff, by.amount.get());
    }
    Ok(done)
}

/// Gives a deduction back, in whole or in part.
pub async fn refund(
    pool: &PgPool,
    account: AccountId,
    refund: &Refund<'_>,
    key: Option<&Keyed>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Replayable<Value>, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        accounts::store::lock_account(&mut tx, account).await?.ok_or(AccountError::NotFound)?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((first, true));
        }
        let answer = written(&refund_in(&mut tx, account, refund, origin, now).await?)?;
        remember_in(&mut tx, account, key, (201, &answer), now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok((answer, false))
    })
    .await
}
