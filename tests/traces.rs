//! How requests are told to a collector: a real one as far as its protocol goes, over TCP. A program of its own, because
//! tracing is the whole process's.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]
#![allow(clippy::disallowed_methods, reason = "how the program is started is no setting of the application")]

#[path = "api/support/mod.rs"]
mod support;

#[path = "support/collector.rs"]
mod collector;
#[allow(dead_code, reason = "the support serves several kinds of test")]
#[path = "support/program.rs"]
mod program;

use collector::{Collector, Mood, Told};
use igny8::{
    config::Config,
    jobs,
    mail::{post::Post, service::deliver},
    traces,
};
use program::Program;
use serde_json::json;
use std::{fs, path::PathBuf, sync::OnceLock, time::Duration};
use support::{Mailbox, PASSWORD, TestApp, TestDatabase};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

/// Who asks from outside, and where his trace is.
const OUTSIDE: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
/// More requests than spans may wait.
const FLOOD: usize = 4_000;

/// Spans are carried by the runtime that tracing was started on: it has to outlive each test.
fn run<F: Future>(test: F) -> F::Output {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime")).block_on(test)
}

/// The collector that this process tells.
async fn collector() -> Collector {
    static COLLECTOR: tokio::sync::OnceCell<Collector> = tokio::sync::OnceCell::const_new();
    let begin = async || {
        let collector = Collector::start().await;
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_SERVICE_NAME", "igny8-tests".to_owned())];
        let config = Config::parse(&[], |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())).unwrap();
        // It carries on by itself; nobody calls it back.
        drop(traces::start(&config.tracing.unwrap()).unwrap());
        collector
    };
    COLLECTOR.get_or_init(begin).await.clone()
}

/// The parts of a request, by name.
fn parts<'a>(told: &'a [Told], request: &Told) -> Vec<&'a str> {
    let mut names = told.iter().filter(|part| part.parent == request.span).map(|part| part.name.as_str()).collect::<Vec<_>>();
    names.sort_unstable();
    names
}

#[test]
fn a_request_tells_its_method_route_status_id_and_account_and_goes_on_a_trace_that_began_elsewhere() {
    run(async {
        let (collector, app) = (collector().await, TestApp::start().await);
        let ana = app.register("ana@example.com").await;
        let traceparent = format!("00-{}-{}-01", OUTSIDE.0, OUTSIDE.1);

        let asked = app.get("/api/v1/auth/sites/77/?page=2").bearer(&ana.access).header("x-request-id", "traced-1");
        asked.header("traceparent", &traceparent).header("tracestate", "vendor=a-text-of-others").send().await.expect(404);
        let request = collector.request("traced-1").await;

        assert_eq!((request.name.as_str(), request.kind), ("GET /api/v1/auth/sites/{id}", 2));
        assert_eq!((request.trace.as_str(), request.parent.as_str()), OUTSIDE);
        let said = request.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
        let account = ana.account_id.to_string();
        let known = [
            ("http.request.method", "GET"),
            ("http.response.status_code", "404"),
            ("http.route", "/api/v1/auth/sites/{id}"),
            ("igny8.account_id", account.as_str()),
            ("igny8.request_id", "traced-1"),
        ];
        assert_eq!(said, known, "this, and nothing else");
        assert!(!request.is_error && request.nanoseconds > 0);
        assert_eq!(request.resource["service.name"], "igny8-tests");
        assert_eq!(request.resource["vcs.ref.head.revision"], igny8::build_info::BUILD.commit);
        assert_eq!(parts(&collector.told(), &request), ["gate.person"]);
        assert!(!String::from_utf8_lossy(&collector.raw()).contains("a-text-of-others"));
    });
}

#[test]
fn what_costs_stands_below_its_request_and_mails_and_jobs_by_themselves() {
    run(async {
        let mailbox = Mailbox::open().await;
        let change = |config: &mut Config| {
            config.smtp_url = Some(mailbox.url().into());
            config.mail_from = "IGNY8 <no-reply@igny8.test>".to_owned();
        };
        let (collector, app) = (collector().await, TestApp::with(change).await);
        let post = Post::of(&app.state.config).unwrap();
        let ana = app.register("ana@example.com").await;
        let spend = || app.post("/api/v1/billing/credits/deduct/").json(json!({"operation": "clustering", "quantity": 1}));
        let site =
            app.post("/api/v1/auth/sites/").bearer(&ana.access).json(json!({"name": "Blog"})).send().await.expect(201).data()["id"].clone();
        let key = app.post(&format!("/api/v1/auth/sites/{site}/api-key/")).bearer(&ana.access).send().await.expect(201);

        let log_in = app.post("/api/v1/auth/login/").json(json!({"email": "ana@example.com", "password": PASSWORD}));
        log_in.header("x-request-id", "log-in").send().await.expect(200);
        spend().bearer(&ana.access).header("x-request-id", "spend").send().await.expect(201);
        spend().bearer(&ana.access).header("x-request-id", "known").send().await.expect(201);
        spend().key(key.data()["key"].as_str().unwrap()).header("x-request-id", "plugin").send().await.expect(201);
        mailbox.refuse(true);
        deliver(app.pool(), &post, app.state.authenticator.vault(), app.now()).await.unwrap();
        let stop = CancellationToken::new();
        let porter = tokio::spawn(jobs::run(app.state.clone(), jobs::ROUND, stop.clone()));
        let told = collector
            .wait_for(|told| ["mail.send", "mail.purge", "system.verify"].iter().all(|name| told.iter().any(|told| told.name == *name)))
            .await;
        stop.cancel();
        porter.await.unwrap();

        let of = async |id| parts(&collector.told(), &collector.request(id).await).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("log-in").await, ["argon2.hash", "argon2.queue", "gate.person"]);
        assert_eq!(of("spend").await, ["credits.batch", "gate.person"]);
        assert_eq!(of("known").await, ["credits.batch"], "the ledger's own statement asks who he is");
        assert_eq!(of("plugin").await, ["credits.batch", "gate.site_key"]);
        let by_itself = |name: &str| told.iter().find(|told| told.name == name && told.parent.is_empty()).unwrap();
        let (mail, job) = (by_itself("mail.send"), by_itself("credits.seal"));
        assert_eq!((mail.kind, mail.is_error, mail.says("igny8.mail_kind")), (3, true, "verify_email"));
        assert_eq!((job.kind, job.is_error), (1, false));
    });
}

#[test]
fn a_trace_that_elsewhere_is_not_told_is_not_told_here_and_a_made_up_one_begins_anew() {
    run(async {
        let (collector, app) = (collector().await, TestApp::start().await);
        let ask = |id: &'static str, traceparent: String| {
            app.get("/api/v1/auth/plans/").header("x-request-id", id).header("traceparent", &traceparent).send()
        };

        ask("silent", format!("00-{}-{}-00", OUTSIDE.0, OUTSIDE.1)).await.expect(200);
        ask("made-up", "00-not-a-trace-01".to_owned()).await.expect(200);
        ask("nobody", format!("00-{}-{}-01", "0".repeat(32), OUTSIDE.1)).await.expect(200);
        app.request(axum::http::Method::from_bytes(b"BREW").unwrap(), "/made/up/by/a/client")
            .header("x-request-id", "brewing")
            .send()
            .await
            .expect(404);
        let brewing = collector.request("brewing").await;

        for id in ["made-up", "nobody"] {
            let begun = collector.request(id).await;
            assert!(begun.parent.is_empty() && begun.trace != OUTSIDE.0, "{begun:?}");
        }
        assert!(collector.told().iter().all(|told| told.says("igny8.request_id") != "silent"));
        assert_eq!((brewing.name.as_str(), brewing.says("http.request.method")), ("_OTHER", "_OTHER"));
        let raw = String::from_utf8_lossy(&collector.raw()).into_owned();
        assert!(["BREW", "made/up", "ana@example.com"].iter().all(|word| !raw.contains(word)));
    });
}

/// The program on a database of its own, with a folder that is gone at the end.
async fn program(name: &str) -> (Program, TestDatabase, PathBuf) {
    let (database, folder) = (TestDatabase::new().await, PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("traces-{name}")));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    (Program::on(folder.clone(), database.url()), database, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_tells_its_last_spans_before_it_ends_and_its_log_names_their_trace() {
    let (collector, (program, _database, _folder)) = (Collector::start().await, program("last").await);
    let mut program = program.with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).with("LOG_FORMAT", "json").with("LOG_LEVEL", "info");
    program.start();
    let web = program.client();
    program.ready(&web).await;

    web.get("/api/v1/auth/plans/starter/", "").await.unwrap();
    let ended = program.terminate();

    let is_it = |told: &Told| told.name == "GET /api/v1/auth/plans/{slug}";
    let told = collector.told();
    assert!(ended.success() && told.iter().any(is_it), "{ended}: {told:?}");
    let trace = &told.iter().find(|told| is_it(told)).unwrap().trace;
    let lines = program.logged();
    assert!(
        lines.lines().any(|line| line.contains(&format!("\"trace_id\":\"{trace}\"")) && line.contains("/api/v1/auth/plans/{slug}")),
        "{lines}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_slows_no_request_and_what_is_lost_is_counted_and_told_once() {
    // Takes connections, and nothing more.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (program, _database, _folder) = program("silent").await;
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut program = program.with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).with("METRICS_ADDR", &metrics);
    program.start();
    let web = program.client();
    program.ready(&web).await;

    let asked = futures::future::join_all((0..8).map(|_| async {
        let mut answered = 0;
        for _ in 0..FLOOD / 8 {
            answered += usize::from(web.get("/api/v1/auth/plans/starter/", "").await.is_some_and(|(status, _)| status == 200));
        }
        answered
    }))
    .await;
    let lost = lost(&metrics).await;
    let ended = program.terminate();

    assert_eq!(asked.iter().sum::<usize>(), FLOOD);
    assert!(lost > 0, "{lost}");
    assert!(ended.success(), "{ended}");
    let logged = program.logged();
    assert_eq!(logged.matches("more spans end than the collector takes").count(), 1, "{logged}");
    assert!(logged.contains("did not take the last spans in time"), "{logged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_is_told_of_once_and_spans_come_again_when_it_is_willing() {
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (collector, (program, _database, _folder)) = (Collector::start().await, program("refusing").await);
    collector.becomes(Mood::Refusing);
    let program = program.with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).with("METRICS_ADDR", &metrics);
    let mut program = program.with("LOG_LEVEL", "info,igny8::jobs=warn");
    program.start();
    let web = program.client();
    program.ready(&web).await;

    until(async || lost(&metrics).await > 0).await;
    collector.becomes(Mood::Willing);
    web.get("/api/v1/auth/plans/starter/", "").await.unwrap();
    until(async || program.logged().contains("the collector takes spans again")).await;
    let before = lost(&metrics).await;
    collector.becomes(Mood::Picky);
    web.get("/api/v1/auth/plans/starter/", "").await.unwrap();
    until(async || lost(&metrics).await > before).await;

    let logged = program.logged();
    assert_eq!(logged.matches("the collector takes no spans").count(), 1, "{logged}");
    assert!(logged.contains("it said 503"), "{logged}");
    assert!(program.terminate().success());
}

/// Spans that the program says are lost.
async fn lost(metrics: &str) -> u64 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(metrics).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let series = "igny8_spans_total{outcome=\"lost\"} ";
    answer.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap()
}

/// Looks until something has come about, for half a minute.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come about");
}
