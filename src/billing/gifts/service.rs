//! One transaction each, once per Idempotency-Key.

use crate::{
    accounts::{self, life::AccountError},
    audit::model::Origin,
    billing::{
        confirmation::Confirmer,
        gifts::model::Moved,
        keys::{recall_in, remember_in},
        model::{Confirmed, Run},
        service::{BillingError, Replayable, end, written},
    },
    clock::Timestamp,
    credits::{
        self,
        model::Transaction,
        refunds::service::{Refund, refund_in},
        service::StaffMove,
    },
    db,
    db::Pool,
    ids::AccountId,
    meters,
};
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Moves an account's credits by staff's hand.
pub async fn adjust(
    pool: &Pool,
    account: AccountId,
    (wish, run): (&StaffMove<'_>, Run),
    by: &Confirmer,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    let key = by.key.as_ref().map(|(_, key)| key);
    let done = db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        accounts::store::lock_account(&mut tx, account).await?.ok_or(AccountError::NotFound)?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((Confirmed::of(first), true));
        }
        let moved = adjust_in(&mut tx, account, (wish, run), &by.origin, now).await?;
        remember_in(&mut tx, account, key, (201, &moved.value()), now).await?;
        end(tx, run).await?;
        Ok::<_, BillingError>((moved, false))
    })
    .await?;
    if let (Run::Real, false) = (run, done.1) {
        // What is taken is nothing that was granted.
        meters::granted(meters::Cause::Staff, wish.amount.get());
    }
    Ok(done)
}

/// Moves an account's credits by staff's hand, in the caller's transaction.
pub async fn adjust_in(
    connection: &mut PgConnection,
    account: AccountId,
    (wish, run): (&StaffMove<'_>, Run),
    origin: &Origin,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    accounts::store::lock_account(connection, account).await?.ok_or(AccountError::NotFound)?;
    moved(account, credits::service::adjust_in(connection, account, wish, origin, now).await?, run)
}

/// Gives a deduction back, in whole or in part.
pub async fn refund(
    pool: &Pool,
    account: AccountId,
    (refund, run): (&Refund<'_>, Run),
    by: &Confirmer,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    let key = by.key.as_ref().map(|(_, key)| key);
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        accounts::store::lock_account(&mut tx, account).await?.ok_or(AccountError::NotFound)?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((Confirmed::of(first), true));
        }
        let moved = moved(account, refund_in(&mut tx, account, refund, &by.origin, now).await?, run)?;
        remember_in(&mut tx, account, key, (201, &moved.value()), now).await?;
        end(tx, run).await?;
        Ok((moved, false))
    })
    .await
}

/// The entry as an admin's answer.
fn moved(account: AccountId, transaction: Transaction, run: Run) -> Result<Confirmed, BillingError> {
    let (amount, after) = (transaction.amount, transaction.balance_after);
    let before = after.minus(amount).map_err(credits::service::CreditError::from)?;
    let message = format!("{}Credits of account {account}: {before} → {after}.", run.prefix());
    let changes = BTreeMap::from([("account.credits", [json!(before), json!(after)])]);
    Ok(Confirmed { data: written(&Moved { transaction, changes, dry_run: run == Run::Dry })?, message })
}
