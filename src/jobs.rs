//! The night porter: what nobody asks for and still must be done, once a minute.
//!
//! Nothing depends on it being in time: whether an account may act is decided at the request (B5). A job that fails is
//! told in the log and tried again at the next round.

use crate::{
    accounts, auth,
    billing::{self, service::Terms},
    clock::Timestamp,
    credits,
    mail::{self, post::Post},
    meters,
    period::days,
    sites,
    state::AppState,
    system,
    traces::Step,
};
use std::{error::Error, pin::Pin, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// From one round to the next.
pub const ROUND: Duration = Duration::from_secs(60);

/// From one look into the outbox to the next: somebody waits for that mail.
const MAIL_ROUND: Duration = Duration::from_secs(2);

/// From one look whether the laws were asked today to the next.
const LAWS_ROUND: Duration = Duration::from_secs(15 * 60);
/// The name of that job.
const LAWS_JOB: &str = "system.verify";

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
    Job { name: "throttle.sweep", run: |state, _| Box::pin(async move { sweep(&state) }) },
    Job { name: "accounts.end_periods", run: |state, now| Box::pin(end_periods(state, now)) },
    Job { name: "billing.invoice_renewals", run: |state, now| Box::pin(invoice_renewals(state, now)) },
    Job { name: "billing.remind", run: |state, now| Box::pin(remind(state, now)) },
    Job { name: "credits.expire_lots", run: |state, now| Box::pin(expire_lots(state, now)) },
    Job { name: "credits.expire_holds", run: |state, now| Box::pin(expire_holds(state, now)) },
    Job { name: "credits.notify", run: |state, now| Box::pin(notify_of_credits(state, now)) },
    Job { name: "credits.seal", run: |state, now| Box::pin(seal_ledger(state, now)) },
    Job { name: "accounts.purge", run: |state, now| Box::pin(purge_accounts(state, now)) },
    Job { name: "accounts.purge_people", run: |state, now| Box::pin(purge_people(state, now)) },
    Job { name: "auth.purge_tokens", run: |state, now| Box::pin(purge_tokens(state, now)) },
    Job { name: "auth.purge_attempts", run: |state, now| Box::pin(purge_attempts(state, now)) },
    Job { name: "auth.purge_sessions", run: |state, now| Box::pin(purge_sessions(state, now)) },
    Job { name: "mail.purge", run: |state, now| Box::pin(purge_mail(state, now)) },
    Job { name: "sites.purge", run: |state, now| Box::pin(purge_sites(state, now)) },
    Job { name: "sites.purge_events", run: |state, now| Box::pin(purge_events(state, now)) },
];

/// Sites purged in one round at the most.
const SITES_PURGED_MAX: i64 = 1_000;
/// Events purged in one round at the most: more than come in one.
const EVENTS_PURGED_MAX: i64 = 10_000;

async fn end_periods(state: AppState, now: Timestamp) -> Result<(), String> {
    let changed = accounts::life::end_periods(&state.pool, days(state.config.grace_days), now).await.map_err(|error| with_cause(&error))?;
    if changed > 0 {
        tracing::info!(changed, "periods ended");
    }
    Ok(())
}

async fn invoice_renewals(state: AppState, now: Timestamp) -> Result<(), String> {
    let config = &state.config;
    let (grace, outbox) = (days(config.grace_days), state.desk().outbox());
    let terms = Terms { grace, due_days: config.invoice_due_days, override_max: config.approval_threshold_money, outbox };
    let ahead = days(config.renewal_invoice_days);
    billing::renewals::service::invoice_due(&state.pool, terms, ahead, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn remind(state: AppState, now: Timestamp) -> Result<(), String> {
    let (grace, outbox) = (days(state.config.grace_days), state.desk().outbox());
    billing::reminders::service::remind(&state.pool, outbox, grace, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn expire_lots(state: AppState, now: Timestamp) -> Result<(), String> {
    credits::lots::service::expire_due(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn expire_holds(state: AppState, now: Timestamp) -> Result<(), String> {
    credits::holds::service::expire_due(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn notify_of_credits(state: AppState, now: Timestamp) -> Result<(), String> {
    credits::notices::service::notify(&state.pool, state.desk().outbox(), now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn seal_ledger(state: AppState, now: Timestamp) -> Result<(), String> {
    credits::seals::service::seal_due(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_accounts(state: AppState, now: Timestamp) -> Result<(), String> {
    accounts::life::purge_deleted(&state.pool, sites::service::go_with_account, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_sites(state: AppState, now: Timestamp) -> Result<(), String> {
    sites::service::purge_deleted(&state.pool, SITES_PURGED_MAX, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_events(state: AppState, now: Timestamp) -> Result<(), String> {
    sites::events::service::purge(&state.pool, EVENTS_PURGED_MAX, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_people(state: AppState, now: Timestamp) -> Result<(), String> {
    accounts::people::service::purge_deleted(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_tokens(state: AppState, now: Timestamp) -> Result<(), String> {
    auth::recovery::service::purge(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_attempts(state: AppState, now: Timestamp) -> Result<(), String> {
    auth::attempts::service::purge(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

async fn purge_sessions(state: AppState, now: Timestamp) -> Result<(), String> {
    let forgotten = auth::service::purge_sessions(&state.pool, now).await.map_err(|error| with_cause(&error))?;
    if forgotten > 0 {
        tracing::info!(forgotten, "sessions that were over long ago");
    }
    Ok(())
}

async fn purge_mail(state: AppState, now: Timestamp) -> Result<(), String> {
    mail::service::purge(&state.pool, now).await.map(drop).map_err(|error| with_cause(&error))
}

/// Does all jobs every `round`, the first time at once, and carries mail between them, until `stop`. A job that has begun
/// is finished.
pub async fn run(state: AppState, round: Duration, stop: CancellationToken) {
    tokio::join!(do_rounds(state.clone(), round, stop.clone()), carry_mail(state.clone(), stop.clone()), ask_the_laws(state, stop));
}

/// Asks the laws of money once a day, on a round of its own: that may take minutes. A process that stops does not wait for
/// it: nothing is changed by asking.
async fn ask_the_laws(state: AppState, stop: CancellationToken) {
    let mut rounds = interval(LAWS_ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        let (now, began) = (state.clock.now(), state.clock.elapsed());
        let mut step = Step::own(LAWS_JOB);
        let Some(asked) = stop.run_until_cancelled(system::service::verify_daily(&state.pool, now)).await else { return };
        if asked.is_err() {
            step.failed();
        }
        drop(step);
        meters::job_done(LAWS_JOB, asked.is_ok(), state.clock.elapsed().saturating_sub(began), now);
        match asked {
            Ok(0) => {}
            Ok(violations) => tracing::error!(violations, "laws of money are broken; `igny8 verify` tells which"),
            Err(error) => tracing::error!(job = LAWS_JOB, reason = with_cause(&error), "a job failed; it is tried again in the next round"),
        }
    }
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
        let (state, post, now) = (state.clone(), Arc::clone(&post), state.clock.now());
        let tasks = state.tasks.clone();
        let delivering = async move { mail::service::deliver(&state.pool, &post, state.authenticator.vault(), now).await };
        match tokio::spawn(tasks.track_future(delivering)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(reason = with_cause(&error), "the outbox can't be read; it is tried again"),
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
        let (now, began) = (state.clock.now(), state.clock.elapsed());
        let mut step = Step::own(job.name);
        let doing = (job.run)(state.clone(), now);
        let done = tokio::spawn(state.tasks.track_future(doing)).await;
        let failure = match done {
            Ok(Ok(())) => None,
            Ok(Err(sentence)) => Some(sentence),
            Err(panic) => Some(panic.to_string()),
        };
        meters::job_done(job.name, failure.is_none(), state.clock.elapsed().saturating_sub(began), now);
        let Some(failure) = failure else { continue };
        step.failed();
        tracing::error!(job = job.name, reason = failure, "a job failed; it is tried again in the next round");
    }
}

fn sweep(state: &AppState) -> Result<(), String> {
    state.throttle.sweep();
    Ok(())
}

fn with_cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::{authenticator::Authenticator, model::HashingCost, tokens::TokenSecrets},
        clock::SystemClock,
        config::Config,
    };
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    /// Nothing here asks the database.
    fn state() -> AppState {
        let config = Config::parse(&[], |_| None).unwrap();
        let secrets = TokenSecrets { current: "jobs-secret-jobs-secret-jobs-secret-jobs".into(), previous: Vec::new() };
        let authenticator = Authenticator::new(HashingCost::TESTS, &secrets).unwrap();
        let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass().host("/nowhere"));
        AppState::new(pool, Arc::new(SystemClock::start()), config, authenticator)
    }

    static DONE: AtomicUsize = AtomicUsize::new(0);

    fn count() -> Result<(), String> {
        DONE.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    const FAILING: Job = Job { name: "test.fail", run: |_, _| Box::pin(async { Err("on purpose".to_owned()) }) };
    const PANICKING: Job = Job { name: "test.panic", run: |_, _| Box::pin(async { panic!("on purpose") }) };
    const COUNTING: Job = Job { name: "test.count", run: |_, _| Box::pin(async { count() }) };

    #[tokio::test]
    async fn a_job_that_fails_or_panics_keeps_no_other_from_its_turn_and_a_stop_ends_the_round() {
        let (state, stop) = (state(), CancellationToken::new());

        do_all(&state, &[FAILING, PANICKING, COUNTING], &stop).await;
        let done_before_the_stop = DONE.load(Ordering::SeqCst);
        stop.cancel();
        do_all(&state, &[COUNTING], &stop).await;

        assert_eq!((done_before_the_stop, DONE.load(Ordering::SeqCst)), (1, 1));
    }

    #[tokio::test]
    async fn the_porter_goes_when_he_is_told_to() {
        let (state, stop) = (state(), CancellationToken::new());
        let porter = tokio::spawn(run(state, ROUND, stop.clone()));

        stop.cancel();

        assert!(tokio::time::timeout(Duration::from_secs(20), porter).await.is_ok());
    }
}
