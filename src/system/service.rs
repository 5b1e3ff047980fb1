//! Reads across all rooms, in one snapshot, and changes nothing.

use super::{
    laws::{self, store::FINDINGS_MAX},
    model::{Law, State, Step, Violation},
    store,
};
use crate::{
    clock::Timestamp,
    credits::seals,
    db::{self, DatabaseError, Pool, StoreError},
};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::time::Duration;

/// A database that takes longer to answer nothing is not ready.
const READY_WITHIN: Duration = Duration::from_millis(500);
/// An asking that has told nothing for so long is over: its process has ended, or the database was away.
const ASKING_MAX: TimeDelta = TimeDelta::hours(1);
/// Accounts that `state` lists.
const ACCOUNTS_LISTED_MAX: i64 = 50;

/// Why no request should be sent here now.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The server was told to stop.
    #[error("the server is stopping")]
    Draining,
    /// The database takes too long.
    #[error("the database did not answer in time")]
    Late,
    /// The database can't be asked.
    #[error("the database is away")]
    Store(#[from] StoreError),
    /// The schema can't be read.
    #[error("the schema can't be read")]
    Schema(#[source] DatabaseError),
    /// Migrations are missing.
    #[error("the database's schema is older than this program")]
    Outdated,
}

/// Whether the database answers within half a second and has all of this program's migrations.
///
/// A newer schema is fine here, unlike at start: while a newer program is rolled out, the old one goes on serving.
///
/// # Errors
///
/// What is in the way.
pub async fn readiness(pool: &Pool) -> Result<(), NotReady> {
    let asked = async {
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        store::ping(&mut connection).await?;
        match db::is_current(&mut connection).await {
            Ok(true) | Err(DatabaseError::Newer { .. }) => Ok(()),
            Ok(false) => Err(NotReady::Outdated),
            Err(error) => Err(NotReady::Schema(error)),
        }
    };
    tokio::time::timeout(READY_WITHIN, asked).await.map_err(|_| NotReady::Late)?
}

/// Everything that breaks one of the ten laws; empty when all is well.
///
/// All laws see the same instant, so that it may run beside a serving process. However large the database is, no more is in
/// memory than some thousand rows.
///
/// # Errors
///
/// When the database can't be asked.
pub async fn verify(pool: &Pool) -> Result<Vec<Violation>, StoreError> {
    verify_telling(pool, &mut |_| {}).await
}

/// The same, and tells how far it is.
///
/// # Errors
///
/// When the database can't be asked.
pub async fn verify_telling(pool: &Pool, tell: &mut (dyn FnMut(Step) + Send)) -> Result<Vec<Violation>, StoreError> {
    let mut transaction = db::begin(pool).await?;
    store::mark_snapshot(&mut transaction).await?;
    let violations = violations_in(&mut transaction, tell).await?;
    transaction.rollback().await?;
    Ok(violations)
}

/// Asks the laws unless they were asked on this day, by this instance or another. Gives how many rows break one; none where
/// nothing was to be done.
///
/// # Errors
///
/// When the database can't be asked; after an hour the day is open again.
pub async fn verify_daily(pool: &Pool, now: Timestamp) -> Result<usize, StoreError> {
    let Some(run) = store::insert_verify_run(pool, Some(now.date_naive()), now - ASKING_MAX, now).await? else { return Ok(0) };
    let violations = verify(pool).await?;
    store::mark_verify_run(pool, run, count_of(&violations)).await?;
    Ok(violations.len())
}

/// Notes what an asking at the command line found.
///
/// # Errors
///
/// When it can't be written.
pub async fn note_verified(pool: &Pool, violations: &[Violation], now: Timestamp) -> Result<(), StoreError> {
    let Some(run) = store::insert_verify_run(pool, None, now, now).await? else { return Ok(()) };
    store::mark_verify_run(pool, run, count_of(violations)).await
}

fn count_of(violations: &[Violation]) -> i32 {
    i32::try_from(violations.len()).unwrap_or(i32::MAX)
}

/// Plans, accounts, counts, and what breaks a law, all of the same instant.
///
/// # Errors
///
/// When the database can't be asked.
pub async fn state(pool: &Pool) -> Result<State, StoreError> {
    let mut transaction = db::begin(pool).await?;
    store::mark_snapshot(&mut transaction).await?;
    let state = State {
        plans: store::list_plans(&mut transaction).await?,
        accounts: store::list_accounts(&mut transaction, ACCOUNTS_LISTED_MAX).await?,
        counts: store::get_counts(&mut transaction).await?,
        violations: violations_in(&mut transaction, &mut |_| {}).await?,
    };
    transaction.rollback().await?;
    Ok(state)
}

async fn violations_in(connection: &mut PgConnection, tell: &mut (dyn FnMut(Step) + Send)) -> Result<Vec<Violation>, StoreError> {
    let mut violations = Vec::new();
    for &law in Law::ALL {
        tell(Step::Asking(law));
        let findings = laws::store::list_findings(connection, law).await?;
        violations.extend(findings.into_iter().map(|finding| Violation { law, account: finding.account, detail: finding.detail }));
    }
    let total = u64::try_from(seals::store::count_sealed(connection).await?).unwrap_or(0);
    let mut done = 0;
    let mut count = |entries: u64| {
        done += entries;
        tell(Step::Unsealing { done, total });
    };
    let limit = usize::try_from(FINDINGS_MAX).unwrap_or(usize::MAX);
    let altered = seals::service::list_breaches(connection, limit, &mut count).await?;
    // An entry that was altered is no longer the one that the next one continued.
    violations.extend(altered.into_iter().map(|(account, detail)| Violation { law: Law::I2, account: Some(account), detail }));
    Ok(violations)
}
