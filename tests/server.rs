//! The accept loop over real TCP: what slow, fat and rude clients get, and what a stop leaves undone (nothing).

#![allow(clippy::disallowed_methods, reason = "how long a client waits is real time")]

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    http::StatusCode,
    middleware::from_fn_with_state,
    response::IntoResponse,
    routing::{get, post},
};
use igny8::{
    auth::{authenticator::Authenticator, model::HashingCost, tokens::TokenSecrets},
    clock::SystemClock,
    config::Config,
    server::{Limits, serve, serve_app},
    state::AppState,
    web::{pipeline::PeerAddress, shell::shell},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What one handler takes, so that other things can happen meanwhile.
const WORK: Duration = Duration::from_millis(400);

/// Short enough for tests, long enough for a busy machine.
fn short() -> Limits {
    Limits {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        stall: Duration::from_millis(600),
        drain: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// No test here asks the database.
fn state() -> AppState {
    let config = Config::parse(&[], |_| None).expect("an empty environment is fine");
    let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new().host("/nowhere"));
    let secrets = TokenSecrets { current: "server-test-secret-server-test-secret".into(), previous: Vec::new() };
    let authenticator = Authenticator::new(HashingCost::TESTS, &secrets).expect("it tests itself");
    AppState::new(pool, Arc::new(SystemClock::start()), config, authenticator)
}

/// What the handlers have seen.
#[derive(Default)]
struct Seen {
    begun: Notify,
    ended: AtomicUsize,
    dropped: AtomicBool,
}

struct TellWhenDropped(Arc<Seen>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
    }
}

struct Running {
    address: SocketAddr,
    state: AppState,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn with(limits: Limits) -> Self {
        let (state, seen) = (state(), Arc::new(Seen::default()));
        let work = |seen: Arc<Seen>| {
            move || async move {
                let _tell = TellWhenDropped(Arc::clone(&seen));
                seen.begun.notify_one();
                sleep(WORK).await;
                seen.ended.fetch_add(1, Ordering::SeqCst);
                "done"
            }
        };
        let app = Router::new()
            .route("/", get(|peer: axum::Extension<PeerAddress>| async move { format!("hello {}", peer.0.0.ip()) }))
            .route(
                "/length",
                post(|body: Result<Bytes, axum::extract::rejection::BytesRejection>| async {
                    match body {
                        Ok(body) => body.len().to_string().into_response(),
                        Err(_) => StatusCode::BAD_REQUEST.into_response(),
                    }
                }),
            )
            .route("/ignore", post(|| async { "fine" }))
            .route("/large", get(|| async { "x".repeat(64 * 1024 * 1024) }))
            .route("/work", get(work(Arc::clone(&seen))).post(work(Arc::clone(&seen))))
            .layer(from_fn_with_state(state.clone(), shell));
        Self::of(app, state, seen, limits).await
    }

    async fn of(app: Router, state: AppState, seen: Arc<Seen>, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve_app(listener, app, state.clone(), limits, async move {
            let _ = stopped.await;
        }));
        Running { address, state, seen, stop: Some(stop), task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("it runs");
    }

    /// Waits for its end; how long that took.
    async fn ended(self) -> Duration {
        let began = Instant::now();
        in_time(self.task).await.expect("no panic").expect("no error");
        began.elapsed()
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the server listens");
}

/// One answer with a `content-length`.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    in_time(async {
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte).await.unwrap_or_else(|error| panic!("{error} after {text:?}"));
            text.push(char::from(byte[0]));
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if body.len() == length.expect("a length") {
                    return;
                }
            }
        }
    })
    .await;
    text
}

/// Everything until the server closes, and how long that took.
async fn rest(stream: &mut TcpStream) -> (String, Duration) {
    let began = Instant::now();
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_follow_each_other_on_one_connection_and_know_their_peer() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;

    say(&mut client, "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n").await;

    for _ in 0..2 {
        let text = answer(&mut client).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("hello 127.0.0.1"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_trickle_in_are_cut_after_their_time_however_busy_they_are() {
    let server = Running::with(short()).await;
    let (mut silent, mut slow) = (server.connect().await, server.connect().await);
    let began = Instant::now();

    let trickle = async {
        while slow.write_all(b"GET / HTTP/1.1\r\nx: y\r\n".get(..1).unwrap_or_default()).await.is_ok() && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    let ((said, after), trickled) = tokio::join!(rest(&mut silent), trickle);

    assert_eq!(said, "");
    for elapsed in [after, trickled] {
        assert!(elapsed >= short().head - Duration::from_millis(50) && elapsed < PATIENCE / 2, "{elapsed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_has_the_same_time_for_its_headers() {
    let server = Running::with(Limits { idle: PATIENCE, ..short() }).await;
    let mut client = server.connect().await;
    say(&mut client, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answer(&mut client).await;

    sleep(short().head * 2).await;
    say(&mut client, "GET / HT").await;

    let (said, after) = rest(&mut client).await;
    assert_eq!(said, "");
    assert!(after < PATIENCE / 2, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_waits_between_requests_is_kept_and_then_closed() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;
    say(&mut client, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answer(&mut client).await;

    sleep(short().head * 2).await; // longer than headers may take, shorter than a pause
    say(&mut client, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answer(&mut client).await;
    let (said, after) = rest(&mut client).await;

    assert_eq!(said, "");
    assert!(after >= short().idle - Duration::from_millis(100) && after < PATIENCE / 2, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_answered_and_not_waited_for() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;

    say(&mut client, "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;

    let (said, after) = rest(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("\"success\":false"), "{said}");
    assert!(after >= short().body - Duration::from_millis(50) && after < PATIENCE / 2, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_reads_does_not_hold_the_connection() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;

    say(&mut client, "POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc").await;

    let (said, after) = rest(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(after < PATIENCE / 2, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_body_arrives_in_pieces() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;

    say(&mut client, "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    sleep(short().body / 3).await;
    say(&mut client, "2\r\nde\r\n0\r\n\r\n").await;

    let text = answer(&mut client).await;
    assert!(text.ends_with("\r\n\r\n5"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_beyond_their_size_are_refused() {
    let server = Running::with(short()).await;
    let (mut fitting, mut fat) = (server.connect().await, server.connect().await);

    say(&mut fitting, &format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "y".repeat(15 * 1024))).await;
    say(&mut fat, &format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "y".repeat(20 * 1024))).await;

    assert!(answer(&mut fitting).await.starts_with("HTTP/1.1 200"));
    let (said, _) = rest(&mut fat).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;
    say(&mut client, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;

    sleep(short().stall * 4).await;

    let (said, _) = rest(&mut client).await;
    assert!(said.len() < 64 * 1024 * 1024, "the whole answer came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_beyond_the_limit_waits_its_turn() {
    let server = Running::with(Limits { connections_max: 1, ..short() }).await;
    let mut first = server.connect().await;
    say(&mut first, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answer(&mut first).await;

    let mut second = server.connect().await;
    say(&mut second, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let too_early = timeout(Duration::from_millis(200), second.read_u8()).await;
    drop(first);

    assert!(too_early.is_err(), "the second was served beside the first");
    assert!(answer(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_spoken_to_who_begins_with_it() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;

    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.expect("written");

    let mut frame = [0; 9];
    in_time(client.read_exact(&mut frame)).await.expect("a frame");
    assert_eq!(frame[3], 4, "a SETTINGS frame: {frame:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_closes_idle_connections_at_once_and_refuses_new_ones() {
    let mut server = Running::with(Limits { idle: PATIENCE, head: PATIENCE, ..short() }).await;
    let (mut idle, mut unused) = (server.connect().await, server.connect().await);
    say(&mut idle, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answer(&mut idle).await;

    server.stop();
    let (_, after) = rest(&mut idle).await;
    let _ = rest(&mut unused).await;
    let (address, state) = (server.address, server.state.clone());
    let took = server.ended().await;

    assert!(after < Duration::from_secs(2) && took < Duration::from_secs(2), "{after:?} {took:?}");
    assert!(state.is_draining());
    assert!(TcpStream::connect(address).await.is_err(), "it still accepts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_a_request_in_flight_finish() {
    let mut server = Running::with(short()).await;
    let mut client = server.connect().await;
    say(&mut client, "GET /work HTTP/1.1\r\nhost: x\r\n\r\n").await;
    in_time(server.seen.begun.notified()).await;

    server.stop();
    let (said, _) = rest(&mut client).await;
    server.ended().await;

    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("done"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutation_goes_on_when_its_client_hangs_up_and_a_stop_waits_for_it() {
    let mut server = Running::with(short()).await;
    let mut client = server.connect().await;
    say(&mut client, "POST /work HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    in_time(server.seen.begun.notified()).await;

    drop(client);
    server.stop();
    let seen = Arc::clone(&server.seen);
    server.ended().await;

    assert_eq!(seen.ended.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_ends_with_its_client() {
    let server = Running::with(short()).await;
    let mut client = server.connect().await;
    say(&mut client, "GET /work HTTP/1.1\r\nhost: x\r\n\r\n").await;
    in_time(server.seen.begun.notified()).await;

    drop(client);

    sleep(WORK * 2).await;
    assert!(server.seen.dropped.load(Ordering::SeqCst));
    assert_eq!(server.seen.ended.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_ever() {
    let mut server = Running::with(Limits { drain: WORK / 4, ..short() }).await;
    let mut client = server.connect().await;
    say(&mut client, "POST /work HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    in_time(server.seen.begun.notified()).await;

    server.stop();
    let took = server.ended().await;

    assert!(took < WORK, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_production_router_answers_over_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("a connection");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, state(), async move {
        let _ = stopped.await;
    }));

    say(&mut client, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let health = answer(&mut client).await;
    stop.send(()).expect("it runs");
    in_time(task).await.expect("no panic").expect("no error");

    assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"status\":\"ok\""), "{health}");
}
