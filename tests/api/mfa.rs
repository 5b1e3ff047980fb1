//! The second factor: set up, asked for, used once, lost, and required of developers.

use crate::support::{JWT_SECRET, PASSWORD, Reply, Session, TestApp, request_to};
use axum::http::Method;
use igny8::{
    auth::{
        model::HashingCost,
        service::{Authenticator, TokenSecrets},
    },
    router,
    state::AppState,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use totp_rs::{Builder, Secret};

const LOGIN: &str = "/api/v1/auth/login/";
const ENROLL: &str = "/api/v1/auth/mfa/enroll/";
const ACTIVATE: &str = "/api/v1/auth/mfa/activate/";
const DISABLE: &str = "/api/v1/auth/mfa/disable/";
const RECOVERY_CODES: &str = "/api/v1/auth/mfa/recovery-codes/";
const STEP: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// Somebody's app.
struct Phone(String);

impl Phone {
    /// What it shows now.
    fn shows(&self, app: &TestApp) -> String {
        let secret = Secret::try_from_base32(&self.0).expect("base 32");
        let totp = Builder::new().with_secret(secret).build().expect("a secret that is long enough");
        totp.generate(app.now().timestamp().unsigned_abs()).to_string()
    }
}

async fn post(app: &TestApp, session: &Session, path: &str, body: Value) -> Reply {
    app.post(path).bearer(&session.access).json(body).send().await
}

async fn enroll(app: &TestApp, session: &Session) -> Phone {
    let enrolled = post(app, session, ENROLL, json!({ "password": PASSWORD })).await.expect(200);
    Phone(enrolled.data()["secret"].as_str().expect("a secret").to_owned())
}

/// Switches it on, half a minute before the next code. Gives the recovery codes too.
async fn activate(app: &TestApp, session: &Session) -> (Phone, Vec<String>) {
    let phone = enroll(app, session).await;
    let activated = post(app, session, ACTIVATE, json!({ "code": phone.shows(app) })).await.expect(200);
    let codes = activated.data()["recovery_codes"].as_array().expect("codes").iter();
    let codes = codes.map(|code| code.as_str().expect("a text").to_owned()).collect();
    app.advance(MINUTE);
    (phone, codes)
}

async fn log_in(app: &TestApp, email: &str, code: Option<&str>) -> Reply {
    app.post(LOGIN).json(with_code(email, code)).send().await
}

fn with_code(email: &str, code: Option<&str>) -> Value {
    match code {
        None => json!({ "email": email, "password": PASSWORD }),
        Some(code) => json!({ "email": email, "password": PASSWORD, "code": code }),
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_a_code_has_proven_it_and_not_before() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let wrong_password = post(&app, &ana, ENROLL, json!({ "password": "wrong horse battery" })).await;
    let enrolled = post(&app, &ana, ENROLL, json!({ "password": PASSWORD })).await.expect(200);
    let phone = Phone(enrolled.data()["secret"].as_str().unwrap().to_owned());
    let before = log_in(&app, &ana.email, None).await;
    let wrong_code = post(&app, &ana, ACTIVATE, json!({ "code": "000000" })).await;
    let activated = post(&app, &ana, ACTIVATE, json!({ "code": phone.shows(&app) })).await.expect(200);
    app.advance(MINUTE);
    let without = log_in(&app, &ana.email, None).await;
    let with = log_in(&app, &ana.email, Some(&phone.shows(&app))).await;

    assert_eq!(wrong_password.expect_code(400, "invalid_input").body["errors"]["password"], json!(["This is not your present password."]));
    let uri = enrolled.data()["otpauth_uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/IGNY8:ana%40example.com?secret=") && uri.contains(&phone.0), "{uri}");
    before.expect(200);
    assert!(wrong_code.expect_code(400, "invalid_input").body["errors"]["code"].is_array());
    assert_eq!(activated.data()["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(without.expect_code(401, "mfa_required").header("www-authenticate"), "Bearer");
    with.expect(200);
    app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(200);
    assert_eq!(app.count("select count(*) from audit_log where action = 'user.mfa_activated'").await, 1);
    assert_eq!(app.count("select count(*) from mail_outbox where kind = 'second_factor'").await, 1);
}

#[tokio::test]
async fn everybody_sees_whether_his_second_factor_is_on_and_how_many_recovery_codes_are_left() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let show = async || app.get("/api/v1/auth/mfa/").bearer(&ana.access).send().await.expect(200).data().clone();

    let before = show().await;
    enroll(&app, &ana).await;
    let enrolled = show().await;
    let (_, codes) = activate(&app, &ana).await;
    log_in(&app, &ana.email, Some(&codes[0])).await.expect(200);
    let after = show().await;

    let off = json!({ "is_active": false, "activated_at": null, "recovery_codes_left": 0 });
    assert_eq!((&before, &enrolled), (&off, &off));
    assert_eq!(after, json!({ "is_active": true, "activated_at": "2026-03-01T00:00:00Z", "recovery_codes_left": 9 }));
}

#[tokio::test]
async fn a_wrong_code_opens_nothing_and_without_the_password_nobody_hears_of_a_second_factor() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let (phone, codes) = activate(&app, &ana).await;
    let sessions = app.count("select count(*) from sessions").await;

    let wrong = log_in(&app, &ana.email, Some("000000")).await;
    let of_nobody = log_in(&app, &ana.email, Some("ABCD-EFGH-IJKL-MNOP")).await;
    let guessed = json!({ "email": ana.email, "password": "wrong horse battery", "code": codes[0] });
    let guessed = app.post(LOGIN).json(guessed).send().await;
    let unknown = log_in(&app, "nobody@example.com", Some(&phone.shows(&app))).await;

    for reply in [wrong, of_nobody] {
        reply.expect_code(401, "mfa_invalid");
    }
    for reply in [guessed, unknown] {
        reply.expect_code(401, "invalid_credentials");
    }
    assert_eq!(app.count("select count(*) from sessions").await, sessions);
    assert_eq!(app.count("select count(*) from recovery_codes where used_at is not null").await, 0);
}

#[tokio::test]
async fn a_code_opens_the_door_once_and_an_older_one_never_after_it() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let (phone, _) = activate(&app, &ana).await;
    let older = phone.shows(&app);
    app.advance(STEP);
    let code = phone.shows(&app);

    let first = log_in(&app, &ana.email, Some(&code)).await;
    let again = log_in(&app, &ana.email, Some(&code)).await;
    let earlier = log_in(&app, &ana.email, Some(&older)).await;
    app.advance(STEP);
    let next = log_in(&app, &ana.email, Some(&format!(" {} ", phone.shows(&app)))).await;

    first.expect(200);
    for reply in [again, earlier] {
        reply.expect_code(401, "mfa_invalid");
    }
    next.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_parallel_logins_with_one_code_one_gets_in() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    let ana = app.register("ana@example.com").await;
    let (phone, codes) = activate(&app, &ana).await;

    for code in [phone.shows(&app), codes[3].clone()] {
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..20 {
            tries.spawn(app.post(LOGIN).json(with_code(&ana.email, Some(&code))).send());
        }
        let replies = tries.join_all().await;

        let let_in = replies.iter().filter(|reply| reply.status.as_u16() == 200).count();
        let refused = replies.iter().filter(|reply| reply.body["code"] == "mfa_invalid").count();
        assert_eq!((let_in, refused), (1, 19), "{code}");
    }
    assert_eq!(app.count("select count(*) from audit_log where action = 'user.mfa_recovery_code_used'").await, 1);
}

#[tokio::test]
async fn recovery_codes_are_hashed_work_once_in_any_spelling_and_end_when_new_ones_are_made() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    let (phone, codes) = activate(&app, &ana).await;

    let first = log_in(&app, &ana.email, Some(&codes[0].to_lowercase().replace('-', " "))).await;
    let again = log_in(&app, &ana.email, Some(&codes[0])).await;
    let proof = |code: &str| json!({ "password": PASSWORD, "code": code });
    let wrong = post(&app, &ana, RECOVERY_CODES, proof("000000")).await;
    let renewed = post(&app, &ana, RECOVERY_CODES, proof(&phone.shows(&app))).await.expect(200);
    let old = log_in(&app, &ana.email, Some(&codes[1])).await;
    let new = log_in(&app, &ana.email, renewed.data()["recovery_codes"][0].as_str()).await;

    first.expect(200);
    again.expect_code(401, "mfa_invalid");
    wrong.expect_code(400, "invalid_input");
    old.expect_code(401, "mfa_invalid");
    new.expect(200);
    let kept = app.text("select string_agg(r::text || f::text, ' ') from recovery_codes r, second_factors f".to_owned()).await;
    assert!(!codes.iter().any(|code| kept.contains(code)) && !kept.contains(&phone.0));
    assert_eq!(app.count("select count(*) from recovery_codes").await, 10);
}

#[tokio::test]
async fn a_second_factor_is_switched_off_by_password_and_code() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    let proof = |password: &str, code: &str| json!({ "password": password, "code": code });
    let nothing_there = post(&app, &ana, DISABLE, proof(PASSWORD, "000000")).await;
    let not_enrolled = post(&app, &ana, ACTIVATE, json!({ "code": "000000" })).await;
    let (phone, _) = activate(&app, &ana).await;

    let twice = post(&app, &ana, ENROLL, json!({ "password": PASSWORD })).await;
    let wrong_password = post(&app, &ana, DISABLE, proof("wrong horse battery", &phone.shows(&app))).await;
    let wrong_code = post(&app, &ana, DISABLE, proof(PASSWORD, "000000")).await;
    let done = post(&app, &ana, DISABLE, proof(PASSWORD, &phone.shows(&app))).await;

    for reply in [nothing_there, not_enrolled] {
        reply.expect_code(409, "mfa_not_active");
    }
    twice.expect_code(409, "mfa_already_active");
    for reply in [wrong_password, wrong_code] {
        reply.expect_code(400, "invalid_input");
    }
    done.expect(200);
    log_in(&app, &ana.email, None).await.expect(200);
    assert_eq!(app.count("select count(*) from recovery_codes").await, 0);
    assert_eq!(app.count("select count(*) from audit_log where action = 'user.mfa_disabled'").await, 1);
}

#[tokio::test]
async fn a_developer_without_a_second_factor_may_do_no_more_than_set_it_up_where_configuration_says_so() {
    let app = TestApp::with(|config| config.mfa_required_for_developers = true).await;
    let (staff, ana) = (app.operator().await, app.register("ana@example.com").await);
    let named = ana.account_id.to_string();
    let as_staff = |path: &str| app.get(path).bearer(&staff.access);

    let as_developer = as_staff("/api/v1/billing/admin/plans/").send().await;
    let body = json!({ "reason": "a test" });
    let as_operator = post(&app, &staff, &format!("/api/v1/billing/admin/accounts/{named}/suspend/"), body).await;
    let as_guest = as_staff("/api/v1/account/").header("x-account-id", &named).send().await;
    let at_home = as_staff("/api/v1/auth/me/").send().await;
    activate(&app, &staff).await;
    let enrolled = as_staff("/api/v1/billing/admin/plans/").send().await;
    let guest = as_staff("/api/v1/account/").header("x-account-id", &named).send().await;

    for reply in [as_developer, as_operator, as_guest] {
        reply.expect_code(403, "mfa_enrollment_required");
    }
    for reply in [at_home, enrolled, guest] {
        reply.expect(200);
    }
    app.get("/api/v1/account/").bearer(&ana.access).send().await.expect(200);
}

#[tokio::test]
async fn a_developer_takes_the_second_factor_of_a_customers_user_away_with_a_reason() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (staff, ana) = (app.operator().await, app.register("ana@example.com").await);
    activate(&app, &ana).await;
    let path = |user: i64| format!("/api/v1/auth/users/{user}/mfa/reset/");
    let reset = |user: i64, body: Value| {
        app.post(&path(user)).bearer(&staff.access).header("x-account-id", &ana.account_id.to_string()).json(body).send()
    };
    let reason = json!({ "reason": "Her phone is lost; we called her back." });

    let without_reason = reset(ana.user_id, json!({})).await;
    let by_herself = app.post(&path(ana.user_id)).bearer(&ana.access).json(reason.clone()).send().await;
    let elsewhere = app.post(&path(ana.user_id)).bearer(&staff.access).json(reason.clone()).send().await;
    let his_own = app.post(&path(staff.user_id)).bearer(&staff.access).json(reason.clone()).send().await;
    let done = reset(ana.user_id, reason.clone()).await;
    let again = reset(ana.user_id, reason).await;

    without_reason.expect_code(400, "invalid_input");
    by_herself.expect_code(403, "developer_required");
    for reply in [elsewhere, his_own] {
        reply.expect_code(404, "not_found");
    }
    done.expect(200);
    again.expect_code(409, "mfa_not_active");
    log_in(&app, &ana.email, None).await.expect(200);
    let told = "select count(*) from audit_log where action = 'user.mfa_reset' and reason like 'Her phone%' and account_id is not null";
    assert_eq!(app.count(told).await, 1);
}

#[tokio::test]
async fn a_second_factor_outlives_a_rotation_of_the_token_secret() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let (phone, _) = activate(&app, &ana).await;
    let instance = |current: &str, previous: &[&str]| {
        let secrets = TokenSecrets { current: current.into(), previous: previous.iter().map(|&key| key.into()).collect() };
        let authenticator = Authenticator::new(HashingCost::TESTS, &secrets).unwrap();
        router::build(&AppState::new(app.pool().clone(), app.clock.clone(), app.state.config.clone(), authenticator)).0
    };
    let log_in_at = async |instance: &router::App, code: String| {
        request_to(instance, Method::POST, LOGIN).json(with_code("ana@example.com", Some(&code))).send().await
    };
    let new = "the secret of the next month, which is long enough";

    let while_rotating = log_in_at(&instance(new, &[JWT_SECRET]), phone.shows(&app)).await;
    app.advance(STEP);
    let afterwards = log_in_at(&instance(new, &[]), phone.shows(&app)).await;

    while_rotating.expect(200);
    afterwards.expect(200);
}
