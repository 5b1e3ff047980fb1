//! Several instances share one limit through a real Redis, and serve on without it.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]
#![allow(clippy::disallowed_methods, reason = "how long a request waits for Redis is real time")]

use crate::support::{Session, TestApp, request_to, tool};
use axum::http::{Method, StatusCode};
use futures::future::join_all;
use igny8::{router::App, state::AppState};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

const ME: &str = "/api/v1/auth/me/";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a Redis may take that is to be waited for: machines of tests are busy.
const PATIENT_MS: u64 = 10_000;

/// A Redis of a test's own, behind a socket that outlives it.
struct Redis {
    folder: PathBuf,
    server: Option<Child>,
}

impl Redis {
    fn start() -> Self {
        let folder = env::temp_dir().join(format!("igny8-redis-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        let mut redis = Redis { folder, server: None };
        redis.begin();
        redis
    }

    fn begin(&mut self) {
        let mut command = tool("redis-server", "redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(self.folder.join("socket"));
        self.server = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn url(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.server.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.kill());
            drop(server.wait());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Waits until the instances share their limits, or don't any more.
async fn until_shared(states: &[&AppState], is_shared: bool) {
    let waiting = async {
        while states.iter().any(|state| state.throttle.is_shared() != is_shared) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}

/// Two instances with one Redis, and somebody who may ask who he is 20 times a minute.
async fn two(redis: &Redis, timeout_ms: u64) -> (TestApp, AppState, App, Session) {
    let url = redis.url();
    let app = TestApp::with(move |config| {
        config.redis_url = Some(url.into());
        config.redis_timeout_ms = timeout_ms;
    })
    .await;
    let (state, other) = app.second();
    until_shared(&[&app.state, &state], true).await;
    let ana = app.register("ana@example.com").await;
    (app, state, other, ana)
}

async fn ask(app: &TestApp, other: &App, ana: &Session, count: usize) -> Vec<StatusCode> {
    let calls = (0..count).map(|n| if n % 2 == 0 { app.get(ME) } else { request_to(other, Method::GET, ME) });
    let sent = calls.map(|call| tokio::spawn(call.bearer(&ana.access).send()));
    join_all(sent).await.into_iter().map(|reply| reply.unwrap().status).collect()
}

fn passed(statuses: &[StatusCode]) -> usize {
    assert!(statuses.iter().all(|status| [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == StatusCode::OK).count()
}

#[tokio::test]
async fn f_two_instances_share_one_limit_exactly_under_200_parallel_requests() {
    let redis = Redis::start();
    let (app, _, other, ana) = two(&redis, PATIENT_MS).await;

    let first = ask(&app, &other, &ana, 200).await;
    app.advance(Duration::from_secs(30));
    let half_a_minute_later = ask(&app, &other, &ana, 200).await;

    assert_eq!((passed(&first), passed(&half_a_minute_later)), (20, 10));
}

#[tokio::test]
async fn f_a_shared_limit_tells_the_same_headers_as_an_own_one() {
    let redis = Redis::start();
    let (app, _, other, ana) = two(&redis, PATIENT_MS).await;
    let own = TestApp::start().await;
    let ben = own.register("ben@example.com").await;
    let told = |reply: &crate::support::Reply| {
        ["x-throttle-limit", "x-throttle-remaining", "x-throttle-reset", "ratelimit", "ratelimit-policy", "retry-after"]
            .map(|name| reply.header(name).to_owned())
    };

    for n in 0..22 {
        let call = if n % 2 == 0 { app.get(ME) } else { request_to(&other, Method::GET, ME) };
        let shared = call.bearer(&ana.access).send().await;
        let alone = own.get(ME).bearer(&ben.access).send().await;
        assert_eq!((shared.status, told(&shared)), (alone.status, told(&alone)), "request {n}");
    }
}

#[tokio::test]
async fn f_without_redis_requests_go_on_by_local_limits_and_share_again_when_it_is_back() {
    let mut redis = Redis::start();
    let (app, state, other, ana) = two(&redis, PATIENT_MS).await;
    let begun = passed(&ask(&app, &other, &ana, 10).await);

    redis.kill();
    let alone = ask(&app, &other, &ana, 200).await;
    until_shared(&[&app.state, &state], false).await;
    redis.begin();
    until_shared(&[&app.state, &state], true).await;
    let together = ask(&app, &other, &ana, 200).await;

    // Each instance has 20 of its own while Redis is away; the Redis that comes back knows of nothing before.
    assert_eq!((begun, passed(&alone), passed(&together)), (10, 40, 20));
}

#[tokio::test]
async fn f_a_redis_that_does_not_answer_holds_nobody_up() {
    let redis = Redis::start();
    let (app, state, other, ana) = two(&redis, 50).await;

    redis.signal(Signal::STOP);
    let began = Instant::now();
    let statuses = ask(&app, &other, &ana, 10).await;
    let took = began.elapsed();
    until_shared(&[&app.state, &state], false).await;
    redis.signal(Signal::CONT);
    until_shared(&[&app.state, &state], true).await;

    assert_eq!(passed(&statuses), 10);
    // 50 ms for the first on each instance, and what ten requests take on a busy machine; not ten times a timeout.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn f_an_instance_starts_without_redis_and_finds_it_later() {
    let mut redis = Redis::start();
    redis.kill();
    let url = redis.url();
    let app = TestApp::with(move |config| config.redis_url = Some(url.into())).await;
    let ana = app.register("ana@example.com").await;

    let before = app.get(ME).bearer(&ana.access).send().await.expect(200).header("x-throttle-remaining").to_owned();
    redis.begin();
    until_shared(&[&app.state], true).await;
    let after = app.get(ME).bearer(&ana.access).send().await.expect(200).header("x-throttle-remaining").to_owned();

    assert_eq!([&*before, &*after], ["19", "19"]);
}
