//! What stands around every route (contract, sections 1 and 7; reliability, "Defaults"): envelope, errors, headers, cookies,
//! bodies, browsers from elsewhere. What routes cannot be made to do, routes of the tests do inside the same frame.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Call, Reply, Session, TestApp, request_to};
use axum::{Router, http::Method, routing::get};
use igny8::{
    config::AppEnv,
    router::{App, around},
};
use regex_lite::Regex;
use serde_json::{Value, json};
use std::time::Duration;

const ME: &str = "/api/v1/auth/me/";
const PLANS: &str = "/api/v1/auth/plans/";
const REGISTER: &str = "/api/v1/auth/register/";
const LOGIN: &str = "/api/v1/auth/login/";
const LOGOUT: &str = "/api/v1/auth/logout/";
const SITES: &str = "/api/v1/auth/sites/";
const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const CONFIRM: &str = "/api/v1/billing/admin/confirm-bank-transfer/";
const SPA: &str = "https://app.example.com";

/// Asserts that an answer is an error in the envelope, and gives its sentence.
#[track_caller]
fn sentence_of(reply: &Reply) -> &str {
    assert_eq!(reply.header("content-type"), "application/json", "{}", reply.text);
    assert_eq!(reply.body["success"], false, "{}", reply.text);
    assert!(Regex::new("^[a-z][a-z0-9_]*$").expect("a pattern").is_match(reply.body["code"].as_str().expect("a code")), "{}", reply.text);
    assert_eq!(reply.body["request_id"], reply.header("x-request-id"), "{}", reply.text);
    let sentence = reply.body["error"].as_str().expect("error is a text");
    assert!(!sentence.is_empty() && sentence.chars().count() < 160 && !sentence.contains('\n'), "{sentence}");
    sentence
}

/// Asserts the headers that every answer has.
#[track_caller]
fn assert_dressed(reply: &Reply) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(reply.header(name), value, "{name} of {reply:?}");
    }
    assert!(!reply.header("x-request-id").is_empty(), "{reply:?}");
}

/// Routes that fail, inside the frame of production.
fn failing(app: &TestApp) -> App {
    let routes = Router::new()
        .route(
            "/panics",
            get(async || -> &'static str { panic!("as the test wants it") }).post(async || -> &'static str { panic!("again") }),
        )
        .route("/sleeps", get(async || tokio::time::sleep(Duration::from_secs(60)).await));
    around(routes, &app.state)
}

fn get_from(app: &App, path: &str) -> Call {
    request_to(app, Method::GET, path)
}

/// One request for each kind of error that needs no account's help, with the status that it gets.
fn errors(app: &TestApp, session: &Session) -> Vec<(u16, Call)> {
    let failing = failing(app);
    let owned = |call: Call| call.bearer(&session.access);
    vec![
        (400, app.post(LOGIN).body("application/json", "{")),
        (400, app.post(LOGIN).json(json!({}))),
        (401, app.get(ME)),
        (401, app.get(ME).bearer("a.b.c")),
        (401, app.get(ME).bearer("key")),
        (402, owned(app.post(DEDUCT)).json(json!({"operation": "clustering", "quantity": 1_000_000}))),
        (403, app.get(ME).header("cookie", "sessionid=x")),
        (403, owned(app.post(CONFIRM)).json(json!({}))),
        (404, app.get("/nowhere/")),
        (404, app.get("/api/v1/nowhere")),
        (404, owned(app.get("/api/v1/auth/sites/999/"))),
        (405, app.delete(PLANS)),
        (413, app.post(LOGIN).body("application/json", "x".repeat(9 * 1024))),
        (415, app.post(LOGIN).body("text/plain", "email=a")),
        (422, owned(app.post("/api/v1/account/upgrade/")).json(json!({"plan_slug": "free"}))),
        (500, get_from(&failing, "/panics")),
        (500, request_to(&failing, Method::POST, "/panics")),
    ]
}

// --- The envelope ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn success_creation_and_list_have_their_shapes_with_and_without_the_slash() {
    let app = TestApp::start().await;

    let created =
        app.post(REGISTER).json(json!({"email": "ana@example.com", "password": "correct horse battery"})).send().await.expect(201);
    let token = created.data()["access"].as_str().unwrap().to_owned();

    assert_eq!(created.body["success"], true);
    assert_eq!(created.body["request_id"], created.header("x-request-id"));
    for path in ["/api/v1/auth/me", "/api/v1/auth/me/"] {
        let shown = app.get(path).bearer(&token).send().await.expect(200);
        assert_eq!(shown.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["data", "request_id", "success"]);
        assert_eq!(shown.header("content-type"), "application/json");
        let list = app.get(&path.replace("me", "plans")).send().await.expect(200);
        let keys = list.body.as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(keys, ["count", "next", "previous", "request_id", "results", "success"]);
        assert!(list.body["results"].is_array() && list.body["count"] == list.body["results"].as_array().unwrap().len());
    }
}

#[tokio::test]
async fn a_list_is_turned_by_absolute_addresses_and_its_limits_are_told() {
    let app = TestApp::start().await;

    let first = app.get("/api/v1/auth/plans/?page_size=2").send().await.expect(200);
    let next = first.body["next"].as_str().unwrap().to_owned();
    let second = app.get(next.strip_prefix("http://igny8.test").unwrap()).send().await.expect(200);
    let wrong = app.get("/api/v1/auth/plans/?page=0&page_size=101").send().await.expect_code(400, "invalid_input");

    assert_eq!(next, "http://igny8.test/api/v1/auth/plans/?page_size=2&page=2");
    assert_eq!(second.body["previous"], "http://igny8.test/api/v1/auth/plans/?page_size=2&page=1");
    assert_ne!(first.body["results"], second.body["results"]);
    assert_eq!(wrong.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["page", "page_size"]);
}

#[tokio::test]
async fn every_kind_of_error_wears_the_envelope_and_every_answer_its_headers() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    for (status, call) in errors(&app, &ana) {
        let reply = call.send().await.expect(status);

        sentence_of(&reply);
        assert_dressed(&reply);
        assert_eq!(reply.header("strict-transport-security"), "", "development knows no HTTPS");
        assert_eq!(reply.header("www-authenticate"), if status == 401 { "Bearer" } else { "" }, "{}", reply.text);
    }
    assert_dressed(&app.get(PLANS).send().await.expect(200));
}

#[tokio::test]
async fn the_same_error_is_problem_json_where_it_is_asked_for() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    for (status, call) in errors(&app, &ana) {
        let reply = call.header("accept", "application/problem+json, application/json;q=0.5").send().await.expect(status);

        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.body["status"], status);
        assert_eq!(reply.body["type"], "about:blank");
        assert_eq!(reply.body["request_id"], reply.header("x-request-id"));
        assert!(reply.body["title"].is_string() && reply.body["detail"].is_string() && reply.body["code"].is_string(), "{}", reply.text);
        assert!(reply.body.get("success").is_none() && reply.body.get("error").is_none(), "{}", reply.text);
    }
    let success = app.get(PLANS).header("accept", "application/problem+json").send().await.expect(200);
    assert_eq!(success.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_answered_for_with_503() {
    let app = TestApp::start().await;
    let slow = failing(&app);

    let reply = get_from(&slow, "/sleeps").header("origin", SPA).send().await.expect_code(503, "deadline_exceeded");

    sentence_of(&reply);
    assert_dressed(&reply);
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::start().await;

    for (call, allowed) in [
        (app.delete(PLANS), vec!["GET", "HEAD"]),
        (app.put(ME), vec!["GET", "HEAD", "PATCH"]),
        (app.put("/api/v1/account/"), vec!["DELETE", "GET", "HEAD", "PATCH"]),
        (app.get(LOGIN), vec!["POST"]),
        (app.request(Method::from_bytes(b"BREW").unwrap(), "/api/v1/auth/sites/1/"), vec!["DELETE", "GET", "HEAD", "PATCH"]),
        (app.post("/healthz"), vec!["GET", "HEAD"]),
    ] {
        let reply = call.send().await.expect_code(405, "method_not_allowed");

        let allow = reply.header("allow");
        let mut methods = allow.split([',', '\n']).map(str::trim).collect::<Vec<_>>();
        methods.sort_unstable();
        assert_eq!(methods, allowed);
        sentence_of(&reply);
    }
}

#[tokio::test]
async fn head_gives_the_headers_of_get_and_no_body() {
    let app = TestApp::start().await;

    let got = app.get(PLANS).send().await.expect(200);
    let head = app.request(Method::HEAD, PLANS).send().await.expect(200);
    let missing = app.request(Method::HEAD, "/nowhere").send().await.expect(404);

    assert_eq!((head.text.as_str(), missing.text.as_str()), ("", ""));
    assert_eq!(head.header("content-length"), got.text.len().to_string());
    assert_dressed(&head);
}

#[tokio::test]
async fn a_request_id_is_kept_when_it_is_sane_and_replaced_when_not() {
    let app = TestApp::start().await;
    let sane = ["7", "0f8fad5b-d9cb-469f-a165-70867728950e", "a_b.c:d-E", &"x".repeat(128)].map(str::to_owned);

    for id in sane {
        let reply = app.get("/nowhere").header("x-request-id", &id).send().await.expect(404);
        assert_eq!((reply.header("x-request-id"), reply.body["request_id"].as_str()), (id.clone(), Some(id.as_str())));
    }

    for id in ["", "a b", "a\"b", "<script>", "a;b", "ä", &"x".repeat(129)] {
        let reply = app.get("/nowhere").header("x-request-id", id).send().await.expect(404);
        let made = reply.header("x-request-id");
        assert!(made != id && made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{id:?} became {made:?}");
        assert_eq!(reply.body["request_id"], made);
    }
    let first = app.get(PLANS).send().await.header("x-request-id");
    assert_ne!(first, app.get(PLANS).send().await.header("x-request-id"));
}

#[tokio::test]
async fn production_asks_for_https_on_every_answer() {
    let app = TestApp::with(|config| config.app_env = AppEnv::Production).await;
    let ana = app.register("ana@example.com").await;

    for (status, call) in errors(&app, &ana) {
        assert_eq!(call.send().await.expect(status).header("strict-transport-security"), "max-age=31536000");
    }
    assert_eq!(app.get("/healthz").send().await.expect(200).header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn the_pages_of_the_docs_may_run_our_scripts_and_nothing_elses() {
    let app = TestApp::start().await;

    for path in ["/api/docs/", "/api/redoc/"] {
        let policy = app.get(path).send().await.expect(200).header("content-security-policy");

        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("http:") && !policy.contains("https:") && !policy.contains("unsafe-eval"), "{policy}");
    }
}

// --- Words that clients listen for -------------------------------------------------------------------------------

#[test]
fn no_403_says_what_makes_the_spa_log_out() {
    let said = Regex::new("(?i)authentication credentials|not authenticated").unwrap();

    for (file, text) in [
        ("problem.rs", include_str!("../../src/web/problem.rs")),
        ("identity.rs", include_str!("../../src/web/identity.rs")),
        ("caller.rs", include_str!("../../src/web/caller.rs")),
    ] {
        assert!(!said.is_match(text), "src/web/{file}");
        assert!(text.contains("forbidden("), "src/web/{file} refuses nobody any more: look where 403 is made now");
    }
}

#[tokio::test]
async fn no_operation_of_the_document_answers_204() {
    let app = TestApp::start().await;
    let document = app.get("/api/schema/").send().await.expect(200).body;

    let operations = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    for operation in operations {
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().all(|status| status != "204"), "{}", operation["operationId"]);
    }
    assert!(document["paths"].as_object().unwrap().len() > 20);
}

// --- Cookies -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn c3_signing_in_and_out_expires_the_known_cookies_and_clears_the_rest() {
    let app = TestApp::start().await;
    let ana = json!({"email": "ana@example.com", "password": "correct horse battery"});

    let answers = [
        app.post(REGISTER).json(ana.clone()).header("cookie", "sessionid=x").send().await.expect(201),
        app.post(LOGIN).json(ana).send().await.expect(200),
        app.post(LOGOUT).send().await.expect(200),
        app.post(LOGOUT).json(json!({"refresh": "junk"})).bearer("junk").send().await.expect(200),
        app.post(LOGOUT).body("text/plain", "{").send().await.expect(200),
        app.get(ME).header("cookie", "a=b; sessionid=x").send().await.expect_code(403, "session_not_allowed"),
    ];

    for (at, reply) in answers.iter().enumerate() {
        let cookies = reply.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect::<Vec<_>>();
        let is_expired = |name: &str, cookie: &str| {
            cookie.starts_with(&format!("{name}=;")) && cookie.contains("Max-Age=0") && cookie.contains("Path=/")
        };
        let expired = |name: &str| cookies.iter().filter(|cookie| is_expired(name, cookie)).count();
        assert_eq!((expired("sessionid"), expired("csrftoken"), cookies.len()), (1, 1, 2), "{at}: {cookies:?}");
        let clears = reply.header("clear-site-data");
        assert!(clears == "\"cookies\"" || at == 5, "{at}: {clears}");
    }
    assert_eq!(app.get(PLANS).header("cookie", "sessionid=x").send().await.expect(200).header("set-cookie"), "");
}

// --- Bodies ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn malformed_json_is_told_with_line_and_column() {
    let app = TestApp::start().await;

    for (body, line, column) in
        [("{", 1, 1), ("{\"email\": \"a\",\n  \"password\" 2}", 2, 14), ("{\"a\":1}}", 1, 8), ("{\"a\": nul}", 1, 10)]
    {
        let reply = app.post(LOGIN).body("application/json", body).send().await.expect_code(400, "malformed_json");

        assert_eq!((&reply.body["line"], &reply.body["column"]), (&Value::from(line), &Value::from(column)), "{body}: {}", reply.text);
        assert!(sentence_of(&reply).contains(&format!("line {line}, column {column}")), "{}", reply.text);
    }
}

#[tokio::test]
async fn all_failing_fields_are_listed_at_once() {
    let app = TestApp::start().await;

    let reply =
        app.post(REGISTER).json(json!({"email": "nobody", "password": 7, "first_name": [], "plan_slug": "x".repeat(65)})).send().await;
    let list = app.post(REGISTER).json(json!([])).send().await.expect_code(400, "invalid_input");

    let reply = reply.expect_code(400, "invalid_input");
    assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["email", "first_name", "password", "plan_slug"]);
    for sentences in reply.body["errors"].as_object().unwrap().values() {
        assert!(sentences.as_array().unwrap().iter().all(Value::is_string), "{}", reply.text);
    }
    assert_eq!(list.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["non_field_errors"]);
}

#[tokio::test]
async fn a_body_may_be_as_long_as_its_route_allows_and_no_longer() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let padded = |length: usize| {
        let head = "{\"operation\": \"clustering\", \"quantity\": 1, \"pad\": \"";
        format!("{head}{}\"}}", "x".repeat(length - head.len() - 2))
    };
    let check =
        |length: usize| app.post("/api/v1/billing/credits/check/").bearer(&ana.access).body("application/json", padded(length)).send();
    let log_in = |length: usize| app.post(LOGIN).body("application/json", padded(length)).send();

    check(256 * 1024).await.expect(200);
    log_in(8 * 1024).await.expect_code(400, "invalid_input");
    for reply in [check(256 * 1024 + 1).await, log_in(8 * 1024 + 1).await] {
        sentence_of(&reply.expect_code(413, "body_too_large"));
    }
}

#[tokio::test]
async fn json_and_forms_are_read_and_nothing_else() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let check = |kind: &str, body: &str| app.post("/api/v1/billing/credits/check/").bearer(&ana.access).body(kind, body.to_owned()).send();
    let (json, form) = (r#"{"operation": "clustering", "quantity": 1}"#, "operation=clustering&quantity=1");

    for (kind, body) in [
        ("application/json", json),
        ("application/json; charset=utf-8", json),
        ("APPLICATION/JSON", json),
        ("application/vnd.igny8+json", json),
        ("application/x-www-form-urlencoded", form),
        ("application/x-www-form-urlencoded; charset=UTF-8", form),
    ] {
        check(kind, body).await.expect(200);
    }

    for kind in ["text/plain", "multipart/form-data; boundary=x", "text/json", "application/xml", "", "application"] {
        sentence_of(&check(kind, json).await.expect_code(415, "unsupported_media_type"));
    }
}

#[tokio::test]
async fn forms_carry_arrays_and_objects_as_php_writes_them() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let deducted = app
        .post(DEDUCT)
        .bearer(&ana.access)
        .form("operation=clustering&quantity=2&description=&metadata%5Bpost%5D=7&metadata%5Btitle%5D=Gr%C3%BC%C3%9Fe+%26+so")
        .send()
        .await
        .expect(201);
    let staff = app.operator().await;
    let features = app
        .patch("/api/v1/billing/admin/plans/starter/")
        .bearer(&staff.access)
        .form("reason=test&features[]=ai_writer&features[1]=image_gen&price=90&is_active=true")
        .send()
        .await
        .expect(200);

    assert_eq!(deducted.data()["transaction"]["metadata"], json!({"post": "7", "title": "Grüße & so"}));
    assert_eq!(features.data()["features"], json!(["ai_writer", "image_gen"]));
    assert_eq!(features.data()["price"], "90.00");
}

#[tokio::test]
async fn decimals_are_taken_as_text_or_number_to_the_cent_and_given_as_text() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let confirm = |amount: &str| {
        let body = format!(
            r#"{{"account_id": {}, "external_payment_id": "BT-1", "payer_name": "Ana", "plan_slug": "starter", "dry_run": true, "amount": {amount}}}"#,
            ana.account_id
        );
        app.post(CONFIRM).bearer(&staff.access).body("application/json", body)
    };

    for amount in ["89", "89.0", "89.00", "\"89\"", "\"89.00\"", "89.000"] {
        app.advance(Duration::from_secs(10));
        assert_eq!(confirm(amount).send().await.expect(200).data()["payment"]["amount"], "89.00", "{amount}");
    }

    for amount in ["89.001", "\"8 9\"", "8.9e1", "-89", "true", "[89]", "\"\"", "null", "99999999999"] {
        app.advance(Duration::from_secs(10));
        let reply = confirm(amount).send().await.expect_code(400, "invalid_input");
        assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["amount"], "{amount}");
    }
}

// --- Browsers from elsewhere -------------------------------------------------------------------------------------

async fn with_spa() -> TestApp {
    TestApp::with(|config| config.cors_allowed_origins = vec![SPA.to_owned(), "http://localhost:5173".to_owned()]).await
}

fn preflight(app: &TestApp, origin: &str) -> Call {
    app.request(Method::OPTIONS, SITES)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key,x-request-id")
}

fn words(text: &str) -> Vec<String> {
    let mut words = text.split([',', '\n']).map(|word| word.trim().to_ascii_lowercase()).collect::<Vec<_>>();
    words.sort_unstable();
    words
}

#[tokio::test]
async fn a_preflight_of_a_configured_origin_is_told_what_it_may_do() {
    let app = with_spa().await;

    for origin in [SPA, "http://localhost:5173"] {
        let reply = preflight(&app, origin).send().await.expect(200);

        assert_eq!(reply.header("access-control-allow-origin"), origin);
        assert_eq!(reply.header("access-control-allow-credentials"), "true");
        assert_eq!(words(&reply.header("access-control-allow-methods")), ["delete", "get", "patch", "post", "put"]);
        let allowed = words(&reply.header("access-control-allow-headers"));
        assert_eq!(allowed, ["authorization", "content-type", "idempotency-key", "x-account-id", "x-request-id"]);
        assert!(words(&reply.header("vary")).contains(&"origin".to_owned()));
        assert_dressed(&reply);
    }
}

#[tokio::test]
async fn another_origin_is_told_nothing() {
    let app = with_spa().await;

    for origin in
        ["https://evil.example.com", "null", "https://app.example.com.evil.com", "http://app.example.com", "https://app.example.com:8443"]
    {
        for reply in [preflight(&app, origin).send().await, app.get(PLANS).header("origin", origin).send().await.expect(200)] {
            assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
        }
    }
    let unconfigured = TestApp::start().await;
    assert_eq!(preflight(&unconfigured, SPA).send().await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn errors_can_be_read_by_the_spa_as_well() {
    let app = with_spa().await;
    let ana = app.register("ana@example.com").await;
    let over = || app.post(LOGIN).json(json!({})).from_address("192.0.2.1").header("origin", SPA);
    for _ in 0..5 {
        over().send().await.expect(400);
    }
    let mut calls = errors(&app, &ana);
    calls.push((200, app.get(PLANS)));
    calls.push((200, app.post(LOGOUT)));
    calls = calls.into_iter().map(|(status, call)| (status, call.header("origin", SPA))).collect();
    calls.push((429, over()));

    for (status, call) in calls {
        let reply = call.send().await.expect(status);

        assert_eq!(reply.header("access-control-allow-origin"), SPA, "{status}");
        assert_eq!(reply.header("access-control-allow-credentials"), "true", "{status}");
        let exposed = words(&reply.header("access-control-expose-headers"));
        for name in
            ["x-request-id", "x-throttle-limit", "x-throttle-remaining", "x-throttle-reset", "ratelimit", "ratelimit-policy", "retry-after"]
        {
            assert!(exposed.contains(&name.to_owned()), "{status}: {name} in {exposed:?}");
        }
    }
}
