//! Writes the reminders that are true now, each in a transaction of its own.

use super::{
    model::{Ending, Window},
    rules, store,
};
use crate::{
    accounts::store::claim_account,
    billing::notices,
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::AccountId,
    mail::service::Outbox,
};
use chrono::TimeDelta;

/// Accounts looked up at once.
const BATCH: i64 = 500;

/// Reminds everybody whose period ends or has ended: of each end once of each, however many instances look. Gives how many
/// were told.
pub async fn remind(pool: &Pool, outbox: Outbox<'_>, grace: TimeDelta, now: Timestamp) -> Result<usize, StoreError> {
    let mut told = 0;
    for window in rules::windows(grace) {
        let mut after = AccountId(0);
        loop {
            let ending = store::list_ending(pool, (after, None), window, BATCH, now).await?;
            let Some(last) = ending.last() else { break };
            after = last.account;
            for ending in ending {
                told += usize::from(db::retried(|| remind_one(pool, outbox, (ending.account, window), now)).await?);
            }
        }
    }
    Ok(told)
}

/// Judges again under the account's lock, so that of two instances one writes.
async fn remind_one(pool: &Pool, outbox: Outbox<'_>, (account, window): (AccountId, Window), now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = db::begin(pool).await?;
    if !claim_account(&mut tx, account).await? {
        return Ok(false);
    }
    let still: Vec<Ending> = store::list_ending(&mut *tx, (AccountId(0), Some(account)), window, 1, now).await?;
    let Some(ending) = still.first() else { return Ok(false) };
    store::insert_reminder(&mut *tx, ending, window.moment, now).await?;
    notices::reminded_in(&mut tx, outbox, (ending, window.moment), now).await?;
    tx.commit().await?;
    Ok(true)
}
