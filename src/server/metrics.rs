//! `/metrics` on a listener of its own: what Prometheus asks for, away from the API's port.

use crate::{meters, state::AppState, system};
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a scrape waits for a connection, and for the database's answer.
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// What was recorded is put into its buckets this often also when nobody asks: memory stays bounded.
pub(super) const UPKEEP: Duration = Duration::from_secs(5);
/// The text format that Prometheus has understood for ever.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the route has.
#[derive(Clone)]
struct Told(Arc<(AppState, PrometheusHandle)>);

pub(super) fn routes(state: AppState, handle: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(tell)).with_state(Told(Arc::new((state, handle))))
}

async fn tell(State(told): State<Told>) -> impl IntoResponse {
    let (state, handle) = &*told.0;
    read(state).await;
    ([(header::CONTENT_TYPE, TEXT)], handle.render())
}

/// Looks at what is not counted where it happens.
async fn read(state: &AppState) {
    let hashes = state.authenticator.load();
    let idle = state.pool.num_idle();
    let size = usize::try_from(state.pool.size()).unwrap_or(usize::MAX);
    meters::read(meters::Readings {
        requests: state.tasks.len(),
        pool_in_use: size.saturating_sub(idle),
        pool_idle: idle,
        pool_max: state.config.database_pool_size,
        pool_wait: ask_for_verdict(state).await,
        hashes_running: hashes.running,
        hashes_waiting: hashes.waiting,
    });
}

/// Takes a connection as any request does, reads when the laws were last asked, and gives how long the connection took. A
/// database that is away leaves the last known answer standing.
async fn ask_for_verdict(state: &AppState) -> Duration {
    let asked = instant();
    let Ok(Ok(mut connection)) = tokio::time::timeout(ASK_WITHIN, state.pool.acquire()).await else { return asked.elapsed() };
    let waited = asked.elapsed();
    if let Ok(Ok(runs)) = tokio::time::timeout(ASK_WITHIN, system::store::get_verify_runs(&mut connection)).await {
        meters::verified(runs.last_clean, runs.violations);
    }
    waited
}

#[allow(clippy::disallowed_methods, reason = "measures how long a connection took, for the metrics only")]
fn instant() -> Instant {
    Instant::now()
}
