//! Lets attempts pass or wait, and keeps count.

use super::{
    model::{Attempt, Standing},
    rules, store,
};
use crate::{
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::UserId,
};
use sqlx::PgConnection;

/// Rows that one purge takes away at the most, of each table.
const PURGED_MAX: i64 = 10_000;

/// How somebody is judged who tries this.
pub async fn standing(pool: &Pool, attempt: &Attempt, now: Timestamp) -> Result<Standing, StoreError> {
    let is_known = store::is_known(pool, &attempt.pair, now - rules::known_for()).await?;
    Ok(if is_known { Standing::Known } else { Standing::Stranger })
}

/// Counts an attempt as a failure before it is made. Gives how many seconds it has to wait instead, if it has.
///
/// Committed before the password is compared: of many attempts at once each sees those before it.
pub async fn begin(pool: &Pool, attempt: &Attempt, now: Timestamp) -> Result<Option<u32>, StoreError> {
    let standing = standing(pool, attempt, now).await?;
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let counters = store::lock_counters(&mut tx, &names(attempt), now).await?;
        if let Some(end) = rules::waits_until(attempt, standing, &counters, now) {
            return Ok(Some(rules::whole_seconds(end - now)));
        }
        for counter in &counters {
            store::mark_failed(&mut tx, &counter.sha256, rules::failures(counter, now), now).await?;
        }
        tx.commit().await?;
        Ok(None)
    })
    .await
}

/// Notes that an attempt was right, in the caller's transaction. Only its own failure is taken back from the address: who
/// logs in as himself must not win more guesses at others by it.
pub async fn succeed_in(connection: &mut PgConnection, attempt: &Attempt, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    store::lock_counters(connection, &names(attempt), now).await?;
    store::unmark_failed(connection, &attempt.address).await?;
    store::delete_counter(connection, &attempt.pair).await?;
    store::mark_known(connection, &attempt.pair, user, now).await
}

/// Takes an attempt back that proved neither right nor wrong.
pub async fn withdraw(pool: &Pool, attempt: &Attempt, now: Timestamp) -> Result<(), StoreError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        for counter in store::lock_counters(&mut tx, &names(attempt), now).await? {
            store::unmark_failed(&mut tx, &counter.sha256).await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

/// Forgets failures and addresses that are too long ago to count. Gives how many.
pub async fn purge(pool: &Pool, now: Timestamp) -> Result<u64, StoreError> {
    let counters = store::delete_old_counters(pool, now - rules::forgotten_after(), PURGED_MAX).await?;
    let addresses = store::delete_old_addresses(pool, now - rules::known_for(), PURGED_MAX).await?;
    Ok(counters + addresses)
}

fn names(attempt: &Attempt) -> [Vec<u8>; 2] {
    [attempt.address.to_vec(), attempt.pair.to_vec()]
}
