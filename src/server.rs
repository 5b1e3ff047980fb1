//! The accept loop: at most so many connections, each with its deadlines, and a stop that loses nothing.
//!
//! axum's own `serve` sets no timer, so that hyper's deadline for headers does nothing (axum#2741); and hyper's deadline
//! would also cut idle connections, which may wait longer. Here each connection is watched by what it is doing.

mod activity;
mod metrics;
mod wire;

use crate::{router, state::AppState, web::pipeline::PeerAddress};
use activity::{Activity, Phase};
use axum::{body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};
use wire::{Answering, Punctual, Watched};

/// Streams that one HTTP/2 connection may have open at once.
const HTTP2_STREAMS_MAX: u32 = 100;
/// Pause after the system refused a connection for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a connection that is told to close still gets for its goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Connections to the metrics: one who scrapes, and some who look.
const METRICS_CONNECTIONS_MAX: usize = 16;

/// What a client may take, in time and in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request to the last of its headers; on a new connection from its beginning.
    pub head: Duration,
    /// All headers of a request together.
    pub head_bytes_max: usize,
    /// From the end of the headers to the end of the body.
    pub body: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Open connections; more wait in the system's queue.
    pub connections_max: usize,
    /// From the signal to stop to the end of the process.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: Duration::from_secs(10),
            head_bytes_max: 16 * 1024,
            body: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            connections_max: 4_096,
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How long a connection may go on with what it is doing; none while we are at work, for handlers have their own.
    fn of(&self, phase: Phase, is_closing: bool) -> Option<Duration> {
        match phase {
            Phase::Head => Some(self.head),
            Phase::Working => None,
            Phase::Sending => Some(self.stall),
            Phase::Idle if is_closing => Some(GOODBYE),
            Phase::Idle => Some(self.idle),
        }
    }

    /// How often a connection is looked at: what goes on for too long is cut that much later at the most.
    fn look(&self) -> Duration {
        (self.head.min(self.stall).min(self.idle) / 10).max(Duration::from_millis(1))
    }
}

/// Serves the API until `shutdown` ends, then finishes what was begun, within the limit for draining.
///
/// # Errors
///
/// When the listener itself fails; a connection that fails concerns nobody else.
pub async fn serve(listener: TcpListener, state: AppState, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let (app, _) = router::build(&state);
    serve_app(listener, app, state, Limits::default(), shutdown).await
}

/// The same for any service and with other limits: what tests use.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_app<S>(
    listener: TcpListener,
    app: S,
    state: AppState,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let server = Server { app, limits, connections: TaskTracker::new(), draining: CancellationToken::new(), cut: CancellationToken::new() };
    let result = server.accept(listener, shutdown).await;
    state.start_draining();
    server.drain(&state.tasks).await;
    result
}

/// Tells the metrics at `/metrics` of a listener of their own until `shutdown` ends, and keeps what was recorded small.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_metrics(
    listener: TcpListener,
    state: AppState,
    handle: PrometheusHandle,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let limits = Limits { connections_max: METRICS_CONNECTIONS_MAX, drain: GOODBYE, ..Limits::default() };
    let app = metrics::routes(state, handle.clone());
    let server = Server { app, limits, connections: TaskTracker::new(), draining: CancellationToken::new(), cut: CancellationToken::new() };
    let upkeep = async {
        loop {
            tokio::time::sleep(metrics::UPKEEP).await;
            handle.run_upkeep();
        }
    };
    let result = tokio::select! {
        result = server.accept(listener, shutdown) => result,
        () = upkeep => Ok(()),
    };
    server.drain(&TaskTracker::new()).await;
    result
}

struct Server<S> {
    app: S,
    limits: Limits,
    connections: TaskTracker,
    /// Connections close after what they have begun.
    draining: CancellationToken,
    /// Connections end as they are.
    cut: CancellationToken,
}

impl<S> Server<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Accepts until told to stop. Returning closes the listener: new connections are refused from here on.
    async fn accept(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let permits = Arc::new(Semaphore::new(self.limits.connections_max));
        let mut shutdown = pin!(shutdown);
        loop {
            // The permit first: a connection that nobody may serve yet stays in the system's queue.
            let next = async { (Arc::clone(&permits).acquire_owned().await, listener.accept().await) };
            let (permit, accepted) = tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = self.connection(stream, peer);
                    self.connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) if concerns_one_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Lets connections and detached mutations end by themselves, as long as the limit allows.
    async fn drain(&self, mutations: &TaskTracker) {
        self.draining.cancel();
        self.connections.close();
        mutations.close();
        let all = async {
            self.connections.wait().await;
            mutations.wait().await;
        };
        if tokio::time::timeout(self.limits.drain, all).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                requests = mutations.len(),
                "the time for draining is over; the rest is cut"
            );
        }
        self.cut.cancel();
    }

    /// One connection from its first byte to its last.
    fn connection(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send + use<S> {
        let (app, limits, draining, cut) = (self.app.clone(), self.limits, self.draining.clone(), self.cut.clone());
        async move {
            // Without it a small answer may wait for the client's acknowledgement of the one before.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "can't set TCP_NODELAY");
            }
            let activity = Arc::new(Activity::default());
            let stream = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
            let told = Arc::clone(&activity);
            let service = service_fn(move |request| answer(app.clone(), request, peer, limits.body, Arc::clone(&told)));
            let builder = builder(&limits);
            let mut connection = pin!(builder.serve_connection(stream, service));
            let mut looks = tokio::time::interval(limits.look());
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks.reset();
            let (mut is_closing, mut seen, mut still) = (false, activity.seen(), Duration::ZERO);
            loop {
                tokio::select! {
                    biased;
                    ended = connection.as_mut() => {
                        if let Err(error) = ended {
                            tracing::debug!(error, "a connection ended early");
                        }
                        return;
                    }
                    () = cut.cancelled() => return,
                    () = draining.cancelled(), if !is_closing => {
                        (is_closing, still) = (true, Duration::ZERO);
                        connection.as_mut().graceful_shutdown();
                    }
                    _ = looks.tick() => {
                        let now = activity.seen();
                        still = if now == seen { still.saturating_add(looks.period()) } else { Duration::ZERO };
                        seen = now;
                        match (limits.of(now.0, is_closing), now.0) {
                            (Some(limit), _) if still < limit => {}
                            (None, _) => {}
                            (Some(_), Phase::Idle) if !is_closing => {
                                (is_closing, still) = (true, Duration::ZERO);
                                connection.as_mut().graceful_shutdown();
                            }
                            (Some(_), Phase::Idle | Phase::Head | Phase::Working | Phase::Sending) => return,
                        }
                    }
                }
            }
        }
    }
}

/// HTTP/1.1 and HTTP/2 alike. hyper's own deadlines are off: a connection is watched as a whole.
fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.head_bytes_max);
    let head_bytes_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(HTTP2_STREAMS_MAX).max_header_list_size(head_bytes_max);
    builder
}

async fn answer<S>(
    app: S,
    request: Request<Incoming>,
    peer: SocketAddr,
    body_limit: Duration,
    activity: Arc<Activity>,
) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let in_flight = activity.request_begins(request.version());
    let mut request = request.map(|body| Punctual::within(body_limit, body));
    request.extensions_mut().insert(PeerAddress(peer));
    let response = app.oneshot(request).await?;
    in_flight.answer_begins();
    Ok(response.map(|body| Body::new(Answering::new(body, in_flight))))
}

/// The client had gone before it was accepted.
fn concerns_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
