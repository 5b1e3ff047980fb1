//! Secrets that are planted wherever a client can put one, and looked for where they must not be: in the log at TRACE, in the
//! spans that a collector is told, and in every row of the database. A program of its own, because it listens to the whole
//! process.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

#[path = "api/support/mod.rs"]
mod support;

#[path = "support/collector.rs"]
mod collector;

use collector::Collector;
use igny8::{config::Config, traces};
use serde_json::json;
use sqlx::AssertSqlSafe;
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{JWT_SECRET, Session, TestApp};
use tracing_subscriber::fmt::MakeWriter;

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

/// Every row of every table as text, table by table.
async fn dump(app: &TestApp) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public' order by 1")
        .fetch_all(app.pool())
        .await
        .unwrap();
    let mut dumped = Vec::new();
    for table in tables {
        let rows = format!("select coalesce(json_agg(t), '[]')::text from {table} t");
        dumped.push((table, sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(app.pool()).await.unwrap()));
    }
    assert!(dumped.len() > 12, "{}", dumped.len());
    dumped
}

/// Lives through everything that a secret is part of, and gives all secrets by name.
async fn plant(app: &TestApp) -> Vec<(&'static str, String)> {
    let typed = |name: &'static str| (name, format!("planted-{name}-5d1c9f7e"));
    let (first, second, wrong) = (typed("first-password"), typed("second-password"), typed("wrong-password"));
    let (cookie, junk, query, unknown) = (typed("cookie"), typed("junk-token"), typed("query-token"), typed("unknown-field"));
    let email = "ana@example.com";

    let registered = app.post("/api/v1/auth/register/").header("cookie", &format!("sessionid={}; csrftoken={}", cookie.1, cookie.1));
    let body = json!({"email": email, "password": first.1, "password_confirm": first.1, "secret": unknown.1});
    let ana = Session::of(&registered.json(body).send().await.expect(201));
    let post = |path: &str, body| app.post(path).bearer(&ana.access).json(body).send();
    let log_in = |password: &str| app.post("/api/v1/auth/login/").json(json!({"email": email, "password": password})).send();

    // Refused in every way there is.
    log_in(&wrong.1).await.expect(401);
    app.post("/api/v1/auth/login/").body("application/json", format!("{{\"password\": \"{}\",, ", wrong.1)).send().await.expect(400);
    app.post("/api/v1/auth/register/").json(json!({"email": wrong.1, "password": [wrong.1]})).send().await.expect(400);
    app.post("/api/v1/auth/register/")
        .form(&format!("email=b@example.com&password={}&password_confirm={}", wrong.1, first.1))
        .send()
        .await
        .expect(400);
    app.get("/api/v1/auth/me/").header("cookie", &format!("sessionid={}", cookie.1)).send().await.expect(403);
    app.get("/api/v1/auth/me/").bearer(&junk.1).send().await.expect(401);
    app.get("/api/v1/auth/me/").bearer(&format!("{}.{}.{}", junk.1, junk.1, junk.1)).send().await.expect(401);
    app.get("/api/v1/integration/verify-key/").key(&format!("igny8_{}", junk.1)).send().await.expect(401);
    app.post("/api/v1/auth/refresh/").json(json!({"refresh": junk.1})).send().await.expect(401);
    app.get(&format!("/api/v1/auth/plans/?access_token={}&page=1", query.1)).send().await.expect(200);
    app.get(&format!("/api/v1/nowhere?token={}", query.1)).send().await.expect(404);

    // And taken.
    let again = Session::of(&log_in(&first.1).await.expect(200));
    let pair = app.post("/api/v1/auth/refresh/").json(json!({"refresh": again.refresh})).send().await.expect(200);
    let site = post("/api/v1/auth/sites/", json!({"name": "Blog"})).await.expect(201).data()["id"].as_i64().unwrap();
    let key = post(&format!("/api/v1/auth/sites/{site}/api-key/"), json!({})).await.expect(201).data()["key"].as_str().unwrap().to_owned();
    app.get("/api/v1/integration/verify-key/").key(&key).send().await.expect(200);
    let spend = app.post("/api/v1/billing/credits/deduct/").bearer(&key).header("idempotency-key", "post-7");
    spend.json(json!({"operation": "clustering", "quantity": 1})).send().await.expect(201);
    post("/api/v1/account/upgrade/", json!({"plan_slug": "starter"})).await.expect(201);
    let staff = app.operator().await;
    let transfer = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana"});
    app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(transfer).send().await.expect(200);
    app.advance(Duration::from_secs(60));
    post("/api/v1/auth/change-password/", json!({"old_password": wrong.1, "new_password": second.1})).await.expect(400);
    post("/api/v1/auth/change-password/", json!({"old_password": first.1, "new_password": second.1})).await.expect(200);
    app.post("/api/v1/auth/logout/").json(json!({"refresh": ana.refresh})).bearer(&ana.access).send().await.expect(200);
    let last = Session::of(&log_in(&second.1).await.expect(200));
    app.delete("/api/v1/account/").bearer(&last.access).send().await.expect(200);
    app.post("/api/v1/account/restore/").json(json!({"email": email, "password": second.1})).send().await.expect(200);

    // Mails that wait with a live token each: of a reset, a proof of address and an invitation.
    app.post("/api/v1/auth/password-reset/").json(json!({"email": email})).send().await.expect(200);
    let back = Session::of(&log_in(&second.1).await.expect(200));
    let move_to = json!({"new_email": "elsewhere@example.com", "password": second.1});
    app.post("/api/v1/auth/change-email/").bearer(&back.access).json(move_to).send().await.expect(200);
    // A second factor: what the app has, and what opens when it is lost.
    let enrolled = app.post("/api/v1/auth/mfa/enroll/").bearer(&back.access).json(json!({"password": second.1})).send().await.expect(200);
    let factor = enrolled.data()["secret"].as_str().unwrap().to_owned();
    let totp = totp_rs::Builder::new().with_secret(totp_rs::Secret::try_from_base32(&factor).unwrap()).build().unwrap();
    let code = totp.generate(app.now().timestamp().unsigned_abs()).to_string();
    let activated = app.post("/api/v1/auth/mfa/activate/").bearer(&back.access).json(json!({"code": code})).send().await.expect(200);
    let guest = json!({"email": "guest@example.com", "role": "viewer"});
    app.post("/api/v1/auth/invitations/").bearer(&back.access).json(guest).send().await.expect(201);

    let tokens = [&ana.access, &ana.refresh, &again.access, &again.refresh, &staff.access, &staff.refresh, &last.access, &last.refresh];
    let mut secrets = vec![first, second, wrong, cookie, junk, query, unknown];
    // A token's signature is what makes it one; so it is not found in parts either.
    secrets.extend(tokens.map(|token| ("token", token.rsplit('.').next().unwrap().to_owned())));
    for name in ["access", "refresh"] {
        secrets.push(("token", pair.data()[name].as_str().unwrap().rsplit('.').next().unwrap().to_owned()));
    }
    secrets.push(("site key", key.strip_prefix("igny8_").unwrap()[..43].to_owned()));
    secrets.push(("signing key", JWT_SECRET.to_owned()));
    secrets.push(("second factor", factor));
    secrets.push(("second factor, as a dump shows bytes", totp.secret().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()));
    for code in activated.data()["recovery_codes"].as_array().unwrap() {
        secrets.extend([code.as_str().unwrap().to_owned(), code.as_str().unwrap().replace('-', "")].map(|code| ("recovery code", code)));
    }
    let mailed = mailed_tokens(app).await;
    assert_eq!(mailed.len(), 4, "a proof, a reset, an invitation and a change of address wait");
    secrets.extend(mailed.into_iter().map(|token| ("mailed token", token)));
    secrets
}

/// The tokens in the mails that wait, as the worker would send them.
async fn mailed_tokens(app: &TestApp) -> Vec<String> {
    let waiting: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select dedupe_key, sealed_bodies from mail_outbox where sent_at is null").fetch_all(app.pool()).await.unwrap();
    let vault = app.state.authenticator.vault();
    let texts = waiting.iter().map(|(key, sealed)| vault.open(&format!("mail:{key}"), sealed).unwrap());
    let texts = texts.map(|bodies| serde_json::from_slice::<(String, String)>(&bodies).unwrap().0);
    let token =
        |text: String| Some(text.split("?token=").nth(1)?.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect());
    texts.filter_map(token).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_the_log_at_trace_in_a_span_or_in_a_dump_of_the_database() {
    let (log, collector) = (Log::default(), Collector::start().await);
    let endpoint = collector.url();
    let config = Config::parse(&[], |name| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())).unwrap();
    let courier = traces::start(&config.tracing.unwrap()).unwrap();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(log.clone()).init();
    tracing::trace!("the log is heard");
    let app = TestApp::start().await;

    let secrets = plant(&app).await;
    let dumped = dump(&app).await;
    courier.close(Duration::from_secs(30)).await;

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    // The log does speak, of every request and at TRACE; and the dump has what it should have.
    assert!(logged.contains("the log is heard") && logged.matches("request_id=").count() > 25, "{}", logged.len());
    // So do the spans: of requests, and of what was done for them.
    let (raw, told) = (collector.raw(), collector.told());
    let told_of = |name: &str| told.iter().filter(|told| told.name == name).count();
    assert!(told_of("POST /api/v1/auth/login") > 3 && told_of("argon2.hash") > 3 && told_of("gate.person") > 3, "{told:?}");
    let spans = String::from_utf8_lossy(&raw);
    assert!(dumped.iter().any(|(table, rows)| table == "users" && rows.contains("ana@example.com")));
    for (name, secret) in &secrets {
        assert!(secret.len() >= 16, "{name} is too short to be looked for");
        if let Some(at) = logged.find(secret.as_str()) {
            let line = logged[..at].rfind('\n').map_or(0, |newline| newline + 1);
            panic!("a {name} is in the log: {}", logged[line..].lines().next().unwrap_or(""));
        }
        assert!(!spans.contains(secret.as_str()), "a {name} is in a span");
        // Bytes are shown in hexadecimal.
        let bytes = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (table, rows) in &dumped {
            assert!(!rows.contains(&bytes), "a {name} is in {table} as bytes");
            assert!(!rows.contains(secret.as_str()), "a {name} is in {table}");
        }
    }
    // Nor an address in the log or in a span.
    assert!(!logged.contains("ana@example.com"), "an e-mail address is in the log");
    assert!(!spans.contains("example.com"), "an e-mail address is in a span");
}
