//! What the server tells of itself: metrics over its own listener, and the line that each request leaves in the log. A
//! program of its own, because both listen to the whole process.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

#[path = "api/support/mod.rs"]
mod support;

use axum::http::Method;
use igny8::{build_info::BUILD, meters, server, state::AppState, system::service};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};
use support::{PASSWORD, TestApp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

/// What is counted is the whole process's: a test that reads it must be alone.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Recording begins once in a process.
fn handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| meters::start().expect("nothing records yet")).clone()
}

/// Serves an instance's metrics until the token is dropped.
async fn serve(state: &AppState) -> (SocketAddr, CancellationToken) {
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve_metrics(listener, state.clone(), handle(), stop.clone().cancelled_owned()));
    (address, stop)
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The value of a series; 0 where it is not told.
fn value(text: &str, series: &str) -> f64 {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test]
async fn the_metrics_tell_what_happened_and_name_nobody() {
    let _alone = ALONE.lock().await;
    let _recording = handle();
    let app = TestApp::start().await;
    let (address, _stop) = serve(&app.state).await;
    let before = get(address, "/metrics").await;

    let ana = app.register("ana@example.com").await;
    let staff = app.operator().await;
    app.post("/api/v1/auth/login/").json(json!({"email": "ana@example.com", "password": "a wrong one, surely"})).send().await.expect(401);
    let spend = json!({"operation": "clustering", "quantity": 3});
    app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(spend).send().await.expect(201);
    let too_much = json!({"operation": "clustering", "quantity": 100_000});
    app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(too_much).send().await.expect(402);
    app.post("/api/v1/account/upgrade/")
        .bearer(&ana.access)
        .json(json!({"plan_slug": "starter", "payment_method": "bank_transfer"}))
        .send()
        .await
        .expect(201);
    let transfer = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana"});
    for _ in 0..2 {
        app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(transfer.clone()).send().await.expect(200);
    }
    for n in 0..45 {
        let status = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.status;
        // Twenty of the scope, twice for the plan that was just paid for.
        assert_eq!(status == 429, n >= 40, "{n}");
    }
    app.request(Method::from_bytes(b"BREW").unwrap(), "/api/v1/made/up/by/a/client").send().await.expect(404);
    app.get("/api/v1/auth/plans/starter/").send().await.expect(200);
    app.get("/metrics").send().await.expect(404);
    let broken = sqlx::query("select 1/0").execute(app.pool()).await.unwrap_err();
    drop(igny8::db::StoreError::from(broken));
    service::verify_daily(app.pool(), app.now()).await.unwrap();
    meters::job_done("mail.purge", true, std::time::Duration::from_millis(3), app.now());
    let after = get(address, "/metrics").await;

    let grew = |series: &str| value(&after, series) - value(&before, series);
    assert!(after.starts_with("HTTP/1.1 200") && after.contains("text/plain; version=0.0.4"), "{after}");
    for (series, by) in [
        ("igny8_signups_total", 1.0),
        ("igny8_logins_total{outcome=\"ok\"}", 1.0),
        ("igny8_logins_total{outcome=\"refused\"}", 1.0),
        ("igny8_confirmations_total", 1.0),
        ("igny8_spends_total{outcome=\"spent\"}", 1.0),
        ("igny8_spends_total{outcome=\"refused\"}", 1.0),
        ("igny8_credits_spent_total", 30.0),
        ("igny8_spend_batch_size_count", 2.0),
        ("igny8_spend_batch_size_sum", 2.0),
        ("igny8_spend_wait_seconds_count", 2.0),
        ("igny8_job_runs_total{task=\"mail.purge\",outcome=\"ok\"}", 1.0),
        ("igny8_credits_granted_total{cause=\"signup\"}", 2_000.0),
        ("igny8_credits_granted_total{cause=\"confirmation\"}", 1_000.0),
        ("igny8_throttled_total{scope=\"auth\"}", 5.0),
        ("igny8_database_errors_total{sqlstate=\"other\"}", 1.0),
        ("igny8_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/auth/me\",status=\"2xx\"}", 40.0),
        ("igny8_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/auth/me\",status=\"4xx\"}", 5.0),
        ("igny8_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/auth/plans/{slug}\",status=\"2xx\"}", 1.0),
        ("igny8_http_request_duration_seconds_count{method=\"other\",route=\"none\",status=\"4xx\"}", 1.0),
        // The API's own port does not tell them.
        ("igny8_http_request_duration_seconds_count{method=\"GET\",route=\"none\",status=\"4xx\"}", 1.0),
    ] {
        assert!((grew(series) - by).abs() < 0.001, "{series} grew by {} and not by {by}:\n{after}", grew(series));
    }
    for series in [
        "igny8_database_pool_connections{state=\"in_use\"} ",
        "igny8_database_pool_wait_seconds ",
        "igny8_password_hashes{state=\"running\"} ",
        "igny8_password_hashes{state=\"waiting\"} ",
        "igny8_spans_total{outcome=\"sent\"} ",
        // A series that begins with its first failure shows no growth.
        "igny8_job_runs_total{task=\"mail.purge\",outcome=\"failed\"} 0",
    ] {
        assert!(after.contains(series), "{series} is not told:\n{after}");
    }
    assert!(value(&after, "igny8_database_pool_connections{state=\"idle\"}") >= 1.0);
    assert!((value(&after, "igny8_database_pool_connections_max") - 8.0).abs() < 0.001);
    let clean = value(&after, "igny8_verify_last_clean_timestamp_seconds");
    assert!((clean - f64::from(i32::try_from(app.now().timestamp()).unwrap())).abs() < 1.0, "{clean}");
    assert!(
        after.contains(&format!(
            "igny8_build_info{{version=\"{}\",commit=\"{}\",dirty=\"{}\",built_at=\"{}\"}} 1",
            BUILD.version, BUILD.commit, BUILD.dirty, BUILD.built_at
        )),
        "{after}"
    );
    // Nobody is named: not an account, an address, or what a client made up. Nor is a label called as one of Prometheus's own.
    let label = regex_lite::Regex::new(r#"[{,]([a-z_]+)=""#).unwrap();
    let labels = label.captures_iter(&after).map(|found| found[1].to_owned()).collect::<BTreeSet<_>>();
    let known = [
        "built_at", "cause", "commit", "dirty", "le", "method", "outcome", "route", "scope", "sqlstate", "state", "status", "task",
        "version",
    ];
    assert!(labels.iter().all(|label| known.contains(&label.as_str())), "{labels:?}");
    assert!(["ana@", "made/up", "BREW", PASSWORD].iter().all(|secret| !after.contains(secret)), "{after}");
    let told = after.lines().filter_map(|line| line.split(['{', ' ']).next()).filter(|name| name.starts_with("igny8_"));
    let told =
        told.map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum")).collect::<BTreeSet<_>>();
    let known = meters::METERS.iter().map(|meter| meter.name).collect::<BTreeSet<_>>();
    assert_eq!(told.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "told and not on the page");
}

#[tokio::test]
async fn the_laws_are_asked_once_a_day_whoever_asks_and_an_asking_that_died_is_taken_up() {
    let _alone = ALONE.lock().await;
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    let clean = "select count(*) from verify_runs where violations = 0";

    service::verify_daily(app.pool(), app.now()).await.unwrap();
    service::verify_daily(app.pool(), app.now()).await.unwrap();
    let on_the_first_day = app.count(clean).await;
    app.execute("update verify_runs set violations = null").await;
    service::verify_daily(app.pool(), app.now()).await.unwrap();
    let while_it_may_be_under_way = app.count(clean).await;
    app.advance(std::time::Duration::from_secs(2 * 3_600));
    service::verify_daily(app.pool(), app.now()).await.unwrap();
    let taken_up = app.count(clean).await;
    app.advance(std::time::Duration::from_secs(24 * 3_600));
    app.execute("update credit_balances set plan_credits = plan_credits + 1").await;
    let broken = service::verify_daily(app.pool(), app.now()).await.unwrap();

    assert_eq!((on_the_first_day, while_it_may_be_under_way, taken_up, app.count(clean).await), (1, 0, 1, 1));
    assert!(broken >= 1, "{broken}");
}

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// The log of the whole process, as `LOG_FORMAT=json` writes it.
fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let begin = || {
        let log = Log::default();
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(log.clone());
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines)).expect("nobody listens yet");
        log
    };
    LOG.get_or_init(begin).clone()
}

#[tokio::test]
async fn a_request_leaves_one_line_with_its_id_account_route_status_and_milliseconds() {
    let _alone = ALONE.lock().await;
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let log = log();

    app.get("/api/v1/auth/sites/77/?page=2").bearer(&ana.access).header("x-request-id", "the-id").send().await.expect(404);
    app.get("/nowhere/at/all").header("x-request-id", "the-other-id").send().await.expect(404);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"] == "request" && ["the-id", "the-other-id"].contains(&line["request_id"].as_str().unwrap()));
    let lines = lines.collect::<Vec<_>>();
    let [known, unknown] = &lines[..] else { panic!("{text}") };
    assert_eq!(known["request_id"], "the-id");
    assert_eq!(known["account"], ana.account_id);
    assert_eq!((&known["method"], &known["route"], &known["status"]), (&json!("GET"), &json!("/api/v1/auth/sites/{id}"), &json!(404)));
    assert!(known["ms"].is_f64() && known["timestamp"].is_string() && known["level"] == "INFO", "{known}");
    assert!(unknown.get("account").is_none() && unknown.get("route").is_none(), "{unknown}");
    assert!(!text.contains("ana@") && !text.contains(&ana.access) && !text.contains("page=2"));
}
