//! Keeps holds in step with what is there, always under the balance's lock.

use super::store;
use crate::{
    clock::Timestamp,
    credits::{lots, model::Pools},
    db::{self, Pool, StoreError},
    ids::AccountId,
};
use sqlx::PgConnection;

/// Accounts looked at in one query.
const BATCH: i64 = 100;
/// Accounts whose holds are written down in one round at the most. Nothing waits for it: a hold that is over reserves nothing.
const ROUND_MAX: usize = 10_000;

/// Writes down which holds are over at `now`. The balance must be locked and be `pools`; gives it as it is then.
pub async fn expire_in(connection: &mut PgConnection, account: AccountId, pools: Pools, now: Timestamp) -> Result<Pools, StoreError> {
    store::mark_expired(connection, account, now).await?;
    recount_in(connection, account, pools).await
}

/// Displaces the newest holds where the pools have become smaller than what is held. Whoever makes the pools smaller by more than
/// what is available calls this before he commits. The balance must be locked and be `pools`; gives it as it is then.
pub async fn fit_in(connection: &mut PgConnection, account: AccountId, pools: Pools, now: Timestamp) -> Result<Pools, StoreError> {
    if pools.held <= pools.total() {
        return Ok(pools);
    }
    store::mark_displaced(connection, account, pools, now).await?;
    recount_in(connection, account, pools).await
}

async fn recount_in(connection: &mut PgConnection, account: AccountId, pools: Pools) -> Result<Pools, StoreError> {
    let held = store::recount(connection, &[account.0], &[]).await?.get(&account).copied().unwrap_or(pools.held);
    Ok(Pools { held, ..pools })
}

/// Writes down which holds are over at `now`, each account in a transaction of its own. Two instances at once do no harm: the
/// second finds nothing left. Gives how many accounts.
pub async fn expire_due(pool: &Pool, now: Timestamp) -> Result<usize, StoreError> {
    let (mut count, mut after) = (0, AccountId(0));
    while count < ROUND_MAX {
        let accounts = store::list_due(pool, after, BATCH, now).await?;
        let Some(last) = accounts.last() else { break };
        after = *last;
        for account in accounts {
            db::retried(|| async move {
                let mut tx = db::begin(pool).await?;
                lots::service::lock_in(&mut tx, account, now).await?;
                tx.commit().await.map_err(StoreError::from)
            })
            .await?;
            count += 1;
        }
    }
    Ok(count)
}
