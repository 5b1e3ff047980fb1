//! What the server counts and measures of itself: every metric with its labels and what it says, on one page.
//!
//! Without `METRICS_ADDR` nothing records, and all of this does nothing. What is counted for each request holds its handles,
//! which are atomic increments; the rest is looked up by name, and happens once a batch, a mail, a refusal. No label has more
//! values than a list of words or the router has: no account, no address, no id.

use crate::{
    build_info::{BUILD, BuildInfo},
    clock::Timestamp,
};
use metrics::{Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

/// A metric's name and what it says.
pub struct Meter {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
}

macro_rules! meters {
    ($($word:ident = $name:literal: $help:literal;)+) => {
        $(const $word: &str = $name;)+
        /// All of them, by kind and room.
        pub const METERS: &[Meter] = &[$(Meter { name: $word, help: $help }),+];
    };
}

meters! {
    BUILD_INFO = "igny8_build_info": "Always 1; the labels tell the running build.";
    REQUEST_SECONDS = "igny8_http_request_duration_seconds": "From the first of the shell to the answer, by method, route template and class of status.";
    REQUESTS_NOW = "igny8_http_requests_in_flight": "Requests that are being answered, also those whose client has gone.";
    THROTTLED = "igny8_throttled_total": "Requests over their limit, by scope.";
    THROTTLE_SHARED = "igny8_throttle_shared": "1 while limits are shared through Redis, 0 while they are this process's own.";
    THROTTLE_FAILURES = "igny8_throttle_redis_failures_total": "How often Redis was given up, and local limits took over.";
    POOL = "igny8_database_pool_connections": "Connections of the pool, by state.";
    POOL_MAX = "igny8_database_pool_connections_max": "Connections that the pool may have.";
    POOL_WAIT = "igny8_database_pool_wait_seconds": "How long this scrape waited for a connection, as any request would.";
    POOL_TIMEOUTS = "igny8_database_pool_timeouts_total": "Requests that got no connection in time.";
    SQLSTATES = "igny8_database_errors_total": "Errors that alarm, by SQLSTATE; `other` are those with a code of their own nowhere here.";
    HASHES = "igny8_password_hashes": "Passwords at work and passwords in the queue, by state.";
    HASHES_REFUSED = "igny8_password_hashes_refused_total": "Passwords that found the queue full.";
    BATCH_SIZE = "igny8_spend_batch_size": "Spends that were committed together.";
    SPEND_WAIT = "igny8_spend_wait_seconds": "How long the oldest spend of a batch waited for its turn.";
    SPENDS = "igny8_spends_total": "Spends, by what came of them.";
    CREDITS_SPENT = "igny8_credits_spent_total": "Credits that were spent.";
    CREDITS_GRANTED = "igny8_credits_granted_total": "Credits that were granted, by cause.";
    SIGNUPS = "igny8_signups_total": "Accounts that were made by registration.";
    LOGINS = "igny8_logins_total": "Logins, by what came of them.";
    CONFIRMATIONS = "igny8_confirmations_total": "Transfers that were confirmed.";
    SPANS = "igny8_spans_total": "Spans of traces, by what came of them.";
    MAILS = "igny8_mails_total": "Attempts to send a mail, by what came of them.";
    JOB_RUNS = "igny8_job_runs_total": "Runs of a job, by what came of them.";
    JOB_SECONDS = "igny8_job_duration_seconds": "How long a job's last run took.";
    JOB_SUCCESS = "igny8_job_last_success_timestamp_seconds": "When a job last ended well.";
    VERIFY_CLEAN = "igny8_verify_last_clean_timestamp_seconds": "When the laws of money were last asked and all held; 0: never.";
    VERIFY_VIOLATIONS = "igny8_verify_violations": "What the last asking found.";
}

/// Seconds of a request: from a statement that was in memory to the handler's deadline.
const REQUEST_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];
const WAIT_BUCKETS: [f64; 8] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];
const SIZE_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// SQLSTATEs that somebody should look at: a connection left in a failed transaction, collisions, no connections left,
/// timeouts of statements and locks, transactions left idle, a server that goes or is gone.
pub const SQLSTATES_TOLD: [&str; 9] = ["25P02", "25P03", "40001", "40P01", "53300", "55P03", "57014", "57P01", "57P03"];
/// All others.
const OTHER_SQLSTATE: &str = "other";
/// What may come of a spend.
const SPEND_OUTCOMES: [&str; 4] = ["spent", "replayed", "refused", "failed"];
/// What may come of a mail.
const MAIL_OUTCOMES: [&str; 3] = ["sent", "postponed", "given_up"];
/// What may come of a span.
const SPAN_OUTCOMES: [&str; 2] = ["sent", "lost"];
/// Causes of grants.
const GRANT_CAUSES: [&str; 3] = ["signup", "confirmation", "staff"];

/// Starts recording in this process. Call it once, before anything is counted.
///
/// # Errors
///
/// When something records already.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let whole = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(whole(REQUEST_SECONDS), &REQUEST_BUCKETS)?
        .set_buckets_for_metric(whole(SPEND_WAIT), &WAIT_BUCKETS)?
        .set_buckets_for_metric(whole(BATCH_SIZE), &SIZE_BUCKETS)?
        .install_recorder()?;
    for Meter { name, help } in METERS {
        // The help text is one for all kinds; a name has only one of them.
        metrics::describe_gauge!(*name, *help);
        metrics::describe_counter!(*name, *help);
        metrics::describe_histogram!(*name, *help);
    }
    let BuildInfo { version, commit, dirty, built_at } = BUILD;
    let dirty = if dirty { "true" } else { "false" };
    gauge!(BUILD_INFO, "version" => version, "commit" => commit, "dirty" => dirty, "built_at" => built_at).set(1.0);
    begin_at_zero();
    Ok(handle)
}

/// What was never counted is told as 0: an alert on growth sees no first time otherwise.
fn begin_at_zero() {
    for name in [POOL_TIMEOUTS, HASHES_REFUSED, CREDITS_SPENT, SIGNUPS, CONFIRMATIONS, THROTTLE_FAILURES] {
        counter!(name).increment(0);
    }
    let worded: [(&'static str, &'static str, &[&'static str]); 7] = [
        (SQLSTATES, "sqlstate", &SQLSTATES_TOLD),
        (SQLSTATES, "sqlstate", &[OTHER_SQLSTATE]),
        (SPENDS, "outcome", &SPEND_OUTCOMES),
        (MAILS, "outcome", &MAIL_OUTCOMES),
        (SPANS, "outcome", &SPAN_OUTCOMES),
        (CREDITS_GRANTED, "cause", &GRANT_CAUSES),
        (LOGINS, "outcome", &["ok", "refused"]),
    ];
    for (name, label, words) in worded {
        words.iter().for_each(|word| counter!(name, label => *word).increment(0));
    }
}

/// The durations of requests, with a handle kept for each route, method and class of status that was met.
#[derive(Default)]
pub struct Requests(RwLock<HashMap<String, Arc<RouteMeter>>>);

#[derive(Default)]
struct RouteMeter([[OnceLock<Histogram>; CLASSES.len()]; METHODS.len()]);

const METHODS: [&str; 6] = ["GET", "POST", "PATCH", "PUT", "DELETE", "other"];
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];
/// The route of a request that no route took.
const NO_ROUTE: &str = "none";

impl Requests {
    /// Measures a request that was answered. `route` is the router's template: never a path that a client made up.
    pub fn answered(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        let route = route.unwrap_or(NO_ROUTE);
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status / 100).checked_sub(2).filter(|class| *class < CLASSES.len()).unwrap_or(CLASSES.len() - 1);
        let meter = self.of(route);
        let (Some(slot), Some(method), Some(class)) =
            (meter.0.get(method).and_then(|row| row.get(class)), METHODS.get(method), CLASSES.get(class))
        else {
            return;
        };
        let histogram =
            slot.get_or_init(|| histogram!(REQUEST_SECONDS, "method" => *method, "route" => route.to_owned(), "status" => *class));
        histogram.record(took);
    }

    fn of(&self, route: &str) -> Arc<RouteMeter> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            return Arc::clone(known);
        }
        Arc::clone(self.0.write().unwrap_or_else(PoisonError::into_inner).entry(route.to_owned()).or_default())
    }
}

/// A request was over its limit.
pub fn throttled(scope: &'static str) {
    counter!(THROTTLED, "scope" => scope).increment(1);
}

/// Limits are shared through Redis from now on, or this process's own.
pub fn throttle_shared(is_shared: bool) {
    gauge!(THROTTLE_SHARED).set(if is_shared { 1.0 } else { 0.0 });
    if !is_shared {
        counter!(THROTTLE_FAILURES).increment(1);
    }
}

/// The database answered with an error that is no constraint.
pub fn database_error(sqlstate: &str) {
    let told = SQLSTATES_TOLD.iter().find(|known| **known == sqlstate).copied().unwrap_or(OTHER_SQLSTATE);
    counter!(SQLSTATES, "sqlstate" => told).increment(1);
}

/// No connection was to be had in time.
pub fn pool_timed_out() {
    counter!(POOL_TIMEOUTS).increment(1);
}

/// The queue of passwords was full.
pub fn password_refused() {
    counter!(HASHES_REFUSED).increment(1);
}

/// A batch of spends begins.
pub fn batch_began(size: usize, oldest_waited: Duration) {
    histogram!(BATCH_SIZE).record(real(size));
    histogram!(SPEND_WAIT).record(oldest_waited);
}

/// A batch of spends is over. Counts by [`SpendCounts`]'s fields.
pub fn batch_ended(counts: SpendCounts) {
    let SpendCounts { spent, replayed, refused, failed, credits } = counts;
    for (outcome, count) in SPEND_OUTCOMES.into_iter().zip([spent, replayed, refused, failed]).filter(|(_, count)| *count > 0) {
        counter!(SPENDS, "outcome" => outcome).increment(count);
    }
    counter!(CREDITS_SPENT).increment(credits);
}

/// What came of a batch's spends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpendCounts {
    /// Written now.
    pub spent: u64,
    /// Written before, under the same key.
    pub replayed: u64,
    /// Not allowed, or not enough credits.
    pub refused: u64,
    /// Ours to mend.
    pub failed: u64,
    /// Credits of those that were written now.
    pub credits: u64,
}

/// Why credits were granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A new account's first credits.
    Signup,
    /// A transfer that was confirmed.
    Confirmation,
    /// Staff's hand.
    Staff,
}

/// Credits were granted, and that is committed.
pub fn granted(cause: Cause, credits: i64) {
    let [signup, confirmation, staff] = GRANT_CAUSES;
    let cause = match cause {
        Cause::Signup => signup,
        Cause::Confirmation => confirmation,
        Cause::Staff => staff,
    };
    counter!(CREDITS_GRANTED, "cause" => cause).increment(u64::try_from(credits).unwrap_or(0));
}

/// Somebody registered.
pub fn signed_up() {
    counter!(SIGNUPS).increment(1);
}

/// Somebody came to the door, and was let in or not.
pub fn logged_in(is_let_in: bool) {
    counter!(LOGINS, "outcome" => if is_let_in { "ok" } else { "refused" }).increment(1);
}

/// A transfer was confirmed.
pub fn confirmed() {
    counter!(CONFIRMATIONS).increment(1);
}

/// What became of some mails.
pub fn mailed(sent: usize, postponed: usize, given_up: usize) {
    for (outcome, count) in MAIL_OUTCOMES.into_iter().zip([sent, postponed, given_up]) {
        counter!(MAILS, "outcome" => outcome).increment(u64::try_from(count).unwrap_or(0));
    }
}

/// The collector took spans.
pub fn spans_sent(count: u64) {
    let [sent, _] = SPAN_OUTCOMES;
    counter!(SPANS, "outcome" => sent).increment(count);
}

/// Spans did not fit into the queue, or the collector did not take them.
pub fn spans_lost(count: u64) {
    let [_, lost] = SPAN_OUTCOMES;
    counter!(SPANS, "outcome" => lost).increment(count);
}

/// A job is over.
pub fn job_done(job: &'static str, is_well: bool, took: Duration, at: Timestamp) {
    // Not "job": Prometheus has that label for itself, and renames ours.
    // Both, so that the first failure is growth and not a beginning.
    for (outcome, is_it) in [("ok", is_well), ("failed", !is_well)] {
        counter!(JOB_RUNS, "task" => job, "outcome" => outcome).increment(u64::from(is_it));
    }
    gauge!(JOB_SECONDS, "task" => job).set(took.as_secs_f64());
    if is_well {
        gauge!(JOB_SUCCESS, "task" => job).set(seconds_of(at));
    }
}

/// What is looked at when somebody asks for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Readings {
    /// Requests that are being answered.
    pub requests: usize,
    /// Connections in use.
    pub pool_in_use: usize,
    /// Connections that wait for work.
    pub pool_idle: usize,
    /// Connections at the most.
    pub pool_max: u32,
    /// How long it took to get one.
    pub pool_wait: Duration,
    /// Passwords on a core.
    pub hashes_running: usize,
    /// Passwords that wait for one.
    pub hashes_waiting: usize,
}

/// Tells what was read just now.
pub fn read(readings: Readings) {
    gauge!(REQUESTS_NOW).set(real(readings.requests));
    gauge!(POOL, "state" => "in_use").set(real(readings.pool_in_use));
    gauge!(POOL, "state" => "idle").set(real(readings.pool_idle));
    gauge!(POOL_MAX).set(f64::from(readings.pool_max));
    gauge!(POOL_WAIT).set(readings.pool_wait.as_secs_f64());
    gauge!(HASHES, "state" => "running").set(real(readings.hashes_running));
    gauge!(HASHES, "state" => "waiting").set(real(readings.hashes_waiting));
}

/// When the laws were last asked and held, and what the last asking found.
pub fn verified(last_clean: Option<Timestamp>, violations: Option<i32>) {
    gauge!(VERIFY_CLEAN).set(last_clean.map_or(0.0, seconds_of));
    gauge!(VERIFY_VIOLATIONS).set(violations.map_or(0.0, f64::from));
}

fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Seconds since 1970, whole: a gauge of Prometheus.
fn seconds_of(at: Timestamp) -> f64 {
    f64::from(u32::try_from(at.timestamp()).unwrap_or(u32::MAX))
}
