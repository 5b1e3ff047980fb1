//! The night porter: what nobody asks for and still must be done, once a minute.
//!
//! Nothing depends on it being in time: whether an account may act is decided at the request (B5). A job that fails is
//! told in the log and tried again at the next round.

use crate::{
    accounts, auth,
    clock::Timestamp,
    mail::{self, post::Post},
    period::days,
    sites,
    state::AppState,
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// From one round to the next.
pub const ROUND: Duration = Duration::from_secs(60);

/// From one look into the outbox to the next: somebody waits for that mail.
const MAIL_ROUND: Duration = Duration::from_secs(2);

/// What a job says of how it went; an error is a sentence for the log.
type Done = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One thing to do in each round.
struct Job {
    /// The name that the log uses: room and verb.
    name: &'static str,
    run: fn(AppState, Timestamp) -> Done,
}

/// All of them, in the order they are done. New ones are added here.
const JOBS: &[Job] = &[
    Job { name: "throttle.sweep", run: |state, _| Box::pin(async move { Ok(state.throttle.sweep()) }) },
    Job { name: "accounts.end_periods", run: |state, now| Box::pin(end_periods(state, now)) },
    Job { name: "accounts.purge", run: |state, now| Box::pin(purge_accounts(state, now)) },
    Job { name: "accounts.purge_people", run: |state, now| Box::pin(purge_people(state, now)) },
    Job { name: "auth.purge_tokens", run: |state, now| Box::pin(purge_tokens(state, now)) },
    Job { name: "mail.purge", run: |state, now| Box::pin(purge_mail(state, now)) },
    Job { name: "sites.purge", run: |state, now| Box::pin(purge_sites(state, now)) },
];

/// Sites purged in one round at the most.
const SITES_PURGED_MAX: i64 = 1_000;

async fn end_periods(state: AppState, now: Timestamp) -> Result<(), String> {
    let changed = accounts::life::end_periods(&state.pool, days(state.config.grace_days), now).await.map_err(|error| error.to_string())?;
    if changed > 0 {
        tracing::info!(changed, "periods ended");
    }
    Ok(())
}

async fn purge_accounts(state: AppState, now: Timestamp) -> Result<(), String> {
    accounts::life::purge_deleted(&state.pool, now).await.map(drop).map_err(|error| error.to_string())
}

async fn purge_sites(state: AppState, now: Timestamp) -> Result<(), String> {
    sites::service::purge_deleted(&state.pool, SITES_PURGED_MAX, now).await.map(drop).map_err(|error| error.to_string())
}

async fn purge_people(state: AppState, now: Timestamp) -> Result<(), String> {
    accounts::people::service::purge_deleted(&state.pool, now).await.map(drop).map_err(|error| error.to_string())
}

async fn purge_tokens(state: AppState, now: Timestamp) -> Result<(), String> {
    auth::recovery::service::purge(&state.pool, now).await.map(drop).map_err(|error| error.to_string())
}

async fn purge_mail(state: AppState, now: Timestamp) -> Result<(), String> {
    mail::service::purge(&state.pool, now).await.map(drop).map_err(|error| error.to_string())
}

/// Does all jobs every `round`, the first time at once, and carries mail between them, until `stop`. A job that has begun
/// is finished.
pub async fn run(state: AppState, round: Duration, stop: CancellationToken) {
    tokio::join!(do_rounds(state.clone(), round, stop.clone()), carry_mail(state, stop));
}

/// Carries mail on a round of its own: a slow mail server must not keep the other jobs waiting.
async fn carry_mail(state: AppState, stop: CancellationToken) {
    let post = match Post::of(&state.config) {
        Ok(post) => Arc::new(post),
        Err(error) => return tracing::error!(%error, "no mail can be sent"),
    };
    let mut rounds = interval(MAIL_ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        let (pool, post, now) = (state.pool.clone(), Arc::clone(&post), state.clock.now());
        let delivering = async move { mail::service::deliver(&pool, &post, now).await };
        match tokio::spawn(state.tasks.track_future(delivering)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the outbox can't be read; it is tried again"),
            Err(panic) => tracing::error!(%panic, "carrying mail failed; it is tried again"),
        }
    }
}

async fn do_rounds(state: AppState, round: Duration, stop: CancellationToken) {
    let mut rounds = interval(round);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        do_all(&state, JOBS, &stop).await;
    }
}

async fn do_all(state: &AppState, jobs: &[Job], stop: &CancellationToken) {
    for job in jobs {
        if stop.is_cancelled() {
            return;
        }
        // In a task of its own, which a drain waits for: a panic ends this job only.
        let doing = (job.run)(state.clone(), state.clock.now());
        let done = tokio::spawn(state.tasks.track_future(doing)).await;
        let failure = match done {
            Ok(Ok(())) => continue,
            Ok(Err(sentence)) => sentence,
            Err(panic) => panic.to_string(),
        };
        tracing::error!(job = job.name, reason = failure, "a job failed; it is tried again in the next round");
    }
}
