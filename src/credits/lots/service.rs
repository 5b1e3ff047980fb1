//! Keeps lots in step with the extra pool, always under the balance's lock.

use super::{
    model::Lot,
    rules::{self, LOTS_MAX},
    store,
};
use crate::{
    clock::Timestamp,
    credits::{
        holds,
        model::{Pools, TransactionKind},
        service::CreditError,
        store::{LockedBalance, NewEntry, append_entry, lock_balance},
    },
    db::{self, Pool, StoreError},
    ids::AccountId,
};
use serde_json::json;
use sqlx::PgConnection;

/// Accounts whose lots are ended at once.
const BATCH: i64 = 100;

/// Locks an account's balance and gives it as it is at `now`: lots and holds that are over by then are ended first.
pub async fn lock_in(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<Option<Pools>, StoreError> {
    let Some(locked) = lock_balance(connection, account).await? else { return Ok(None) };
    bring_up_in(connection, account, locked, now).await.map(Some)
}

/// Ends the lots and holds of a locked balance that are over at `now`, and gives it as it is then.
pub async fn bring_up_in(
    connection: &mut PgConnection,
    account: AccountId,
    locked: LockedBalance,
    now: Timestamp,
) -> Result<Pools, StoreError> {
    let is_over = |ends_at: Option<Timestamp>| ends_at.is_some_and(|ends_at| ends_at <= now);
    let mut pools = locked.pools;
    // Holds first: one that is over must not displace, or be displaced for, another.
    if is_over(locked.next_hold_expiry_at) {
        pools = holds::service::expire_in(connection, account, pools, now).await?;
    }
    if is_over(locked.next_expiry_at) {
        pools = expire_in(connection, account, pools, now).await?;
    }
    Ok(pools)
}

/// Ends the lots that are over at `now`: one entry each for what was left, made at the instant at which the lot ended. So the
/// ledger tells the same whether a request came first or the scheduler. Holds that are not covered any more are displaced. The balance must be locked and be `pools`.
async fn expire_in(connection: &mut PgConnection, account: AccountId, mut pools: Pools, now: Timestamp) -> Result<Pools, StoreError> {
    let lots = rules::settled(store::list_lots(&mut *connection, account).await?, pools.extra);
    let (over, alive) = rules::split(lots, now);
    for lot in over {
        // Settled lots are never more than the pool.
        let moved = pools.expire_extra(lot.remaining).map_err(|refused| sqlx::Error::Decode(refused.into()))?;
        let (Some(moved), Some(ended_at)) = (moved, lot.expires_at) else { continue };
        let entry = NewEntry {
            account,
            kind: TransactionKind::Expiry,
            moved,
            work: None,
            description: format!("Unused extra credits of transaction {}", lot.seq),
            metadata: json!({"lot": lot.seq}),
            reference: None,
            period_seq: None,
            actor: "system",
            key: None,
        };
        append_entry(connection, entry, ended_at).await?;
        pools = moved.after;
    }
    store::replace_lots(connection, account, &rules::worth_keeping(alive)).await?;
    holds::service::fit_in(connection, account, pools, now).await
}

/// Notes that credits came into the extra pool, which held `before`, by the entry of that number.
pub async fn grant_in(connection: &mut PgConnection, account: AccountId, before: Pools, new: Lot) -> Result<(), CreditError> {
    let known = store::list_lots(&mut *connection, account).await?;
    if known.is_empty() && new.expires_at.is_none() {
        return Ok(());
    }
    let lots = rules::worth_keeping(rules::with_grant(known, before.extra, new)?);
    if lots.len() > LOTS_MAX {
        return Err(CreditError::TooManyLots);
    }
    Ok(store::replace_lots(connection, account, &lots).await?)
}

/// Ends all lots that are over at `now`, each account in a transaction of its own. Gives how many accounts.
pub async fn expire_due(pool: &Pool, now: Timestamp) -> Result<usize, StoreError> {
    let (mut count, mut after) = (0, AccountId(0));
    loop {
        let accounts = store::list_due(pool, after, BATCH, now).await?;
        let Some(last) = accounts.last() else { return Ok(count) };
        after = *last;
        for account in accounts {
            db::retried(|| async move {
                let mut tx = db::begin(pool).await?;
                lock_in(&mut tx, account, now).await?;
                tx.commit().await.map_err(StoreError::from)
            })
            .await?;
            count += 1;
        }
    }
}
