//! Requirements C, and everything that a token can be made to do.

use crate::support::{JWT_SECRET, PASSWORD, Reply, Session, TestApp};
use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use igny8::auth::{
    model::{Device, Email, Password, Stay, Visit},
    service::{Entrance, LoginError, log_in_in, prove},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const LOGIN: &str = "/api/v1/auth/login/";
const REFRESH: &str = "/api/v1/auth/refresh/";
const LOGOUT: &str = "/api/v1/auth/logout/";
const ME: &str = "/api/v1/auth/me/";
const SESSIONS: &str = "/api/v1/auth/sessions/";
const CHANGE_PASSWORD: &str = "/api/v1/auth/change-password/";
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

async fn me(app: &TestApp, token: &str) -> Reply {
    app.get(ME).bearer(token).send().await
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Reply {
    app.post(LOGIN).json(json!({ "email": email, "password": password })).send().await
}

async fn refresh(app: &TestApp, token: &str) -> Reply {
    app.post(REFRESH).json(json!({ "refresh": token })).send().await
}

fn token(reply: &Reply, name: &str) -> String {
    reply.data()[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", reply.text)).to_owned()
}

/// A token as its text says, whoever wrote it, signed by HMAC-SHA-256 with the secret.
fn forge(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("claims")
}

fn expires_all_cookies(reply: &Reply) -> bool {
    let cookies = reply.header("set-cookie");
    ["sessionid=;", "csrftoken=;"].iter().all(|cookie| cookies.contains(cookie)) && cookies.matches("Max-Age=0").count() == 2
}

// --- C: no session ever authenticates the API --------------------------------------------------------------------

#[tokio::test]
async fn c1_only_a_token_or_a_key_is_an_identity() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;

    let by_token = me(&app, &session.access).await;
    let by_nothing = app.get(ME).send().await;
    let by_basic = app.get(ME).header("authorization", "Basic YW5hQGV4YW1wbGUuY29tOmNvcnJlY3Q=").send().await;
    let by_two = app.get(ME).bearer(&session.access).bearer(&session.access).send().await;
    let by_query = app.get(&format!("{ME}?access_token={}", session.access)).send().await;
    let by_cookie = app.get(ME).header("cookie", &format!("access={}; csrftoken=x", session.access)).send().await;

    by_token.expect(200);
    for (reply, code) in
        [(by_nothing, "authentication_required"), (by_query, "authentication_required"), (by_cookie, "authentication_required")]
    {
        assert_eq!(reply.expect_code(401, code).header("www-authenticate"), "Bearer");
    }
    for reply in [by_basic, by_two] {
        reply.expect_code(401, "malformed_credentials");
    }
}

#[tokio::test]
async fn c2_a_session_cookie_alone_gets_403_in_these_words_and_is_expired() {
    let app = TestApp::start().await;

    for cookie in ["sessionid=abc", "theme=dark; sessionid=abc; csrftoken=def"] {
        let reply = app.get(ME).header("cookie", cookie).send().await.expect_code(403, "session_not_allowed");
        assert_eq!(reply.body["error"], "Session authentication not allowed for API routes. Please use JWT.");
        assert!(expires_all_cookies(&reply), "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn c2_a_token_beside_a_cookie_is_the_identity_and_only_that() {
    let app = TestApp::start().await;
    let (ana, operator) = (app.register("ana@example.com").await, app.operator().await);
    let cookie = format!("sessionid={}", operator.access);

    let reply = app.get(ME).bearer(&ana.access).header("cookie", &cookie).send().await.expect(200);

    assert_eq!(reply.data()["user"]["id"], ana.user_id);
    assert_eq!(reply.data()["user"]["role"], "owner");
}

#[tokio::test]
async fn c2_a_junk_token_beside_a_cookie_is_401() {
    let app = TestApp::start().await;
    app.operator().await;

    for junk in ["Bearer junk", "Bearer a.b.c", "Bearer ", "Bearer", "bearer  junk", "Bearer null"] {
        let reply = app.get(ME).header("authorization", junk).header("cookie", "sessionid=superuser").send().await.expect(401);
        assert_eq!(reply.header("www-authenticate"), "Bearer", "{junk}");
    }
}

#[tokio::test]
async fn c3_registration_login_and_logout_expire_the_cookies() {
    let app = TestApp::start().await;
    let form = json!({ "email": "ana@example.com", "password": PASSWORD });

    let registered = app.post("/api/v1/auth/register/").json(form.clone()).header("cookie", "sessionid=abc").send().await.expect(201);
    let logged_in = app.post(LOGIN).json(form).header("cookie", "sessionid=abc").send().await.expect(200);
    let logged_out = app.post(LOGOUT).header("cookie", "sessionid=abc").send().await.expect(200);

    for reply in [registered, logged_in, logged_out] {
        assert!(expires_all_cookies(&reply), "{:?}", reply.headers);
        assert_eq!(reply.header("clear-site-data"), "\"cookies\"");
    }
}

#[tokio::test]
async fn c3_logout_revokes_the_refresh_token_whatever_stands_in_the_header() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;

    for header in ["", "Bearer junk", "Bearer a.b.c", "Basic x"] {
        let session = app.log_in("ana@example.com").await;
        let call = app.post(LOGOUT).json(json!({ "refresh": session.refresh }));
        let call = if header.is_empty() { call } else { call.header("authorization", header) };
        call.send().await.expect(200);
        refresh(&app, &session.refresh).await.expect_code(401, "token_revoked");
        me(&app, &session.access).await.expect_code(401, "token_revoked");
        app.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn c3_logout_works_after_the_access_token_expired_and_again() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;
    app.advance(HOUR);

    let call = || app.post(LOGOUT).json(json!({ "refresh": session.refresh })).bearer(&session.access).send();
    let replies = [call().await, call().await];

    for reply in replies {
        reply.expect(200);
    }
    refresh(&app, &session.refresh).await.expect_code(401, "token_revoked");
}

#[tokio::test]
async fn c3_logout_answers_200_whatever_is_sent_and_ends_only_what_was_named() {
    let app = TestApp::start().await;
    let (kept, bearer) = (app.register("ana@example.com").await, app.log_in("ana@example.com").await);

    for body in ["", "{}", "{\"refresh\": 5}", "{\"refresh\": null}", "{\"refresh\": \"junk\"}", "[1]", "{"] {
        app.post(LOGOUT).body("application/json", body).send().await.expect(200);
    }
    app.post(LOGOUT).body("text/plain", "x".repeat(20_000)).send().await.expect(200);
    app.post(LOGOUT).json(json!({ "refresh": kept.access })).send().await.expect(200);
    app.post(LOGOUT).bearer(&bearer.access).send().await.expect(200);

    me(&app, &kept.access).await.expect(200);
    me(&app, &bearer.access).await.expect_code(401, "token_revoked");
}

#[tokio::test]
async fn c4_a_suspended_users_token_stops_at_once() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;

    app.execute("update users set is_active = false").await;

    me(&app, &session.access).await.expect_code(401, "token_revoked");
    refresh(&app, &session.refresh).await.expect_code(401, "token_revoked");
    log_in(&app, "ana@example.com", PASSWORD).await.expect_code(401, "invalid_credentials");
}

#[tokio::test]
async fn c4_a_deleted_user_or_account_stops_at_once() {
    let app = TestApp::start().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);
    let sessions = app.count("select count(*) from sessions").await;

    app.execute("update users set deleted_at = created_at, restore_until = created_at where email = 'ana@example.com'").await;
    app.execute("update accounts set deleted_at = created_at, restore_until = created_at where slug like 'ben%'").await;

    for session in [&ana, &ben] {
        me(&app, &session.access).await.expect_code(401, "token_revoked");
        log_in(&app, &session.email, PASSWORD).await.expect_code(401, "invalid_credentials");
    }
    assert_eq!(app.count("select count(*) from sessions").await, sessions, "a refused login leaves no session");
}

#[tokio::test]
async fn c4_a_changed_role_is_judged_at_once_and_a_changed_account_ends_the_token() {
    let app = TestApp::start().await;
    let (ana, _) = (app.register("ana@example.com").await, app.register("ben@example.com").await);

    app.execute("update users set role = 'viewer' where email = 'ana@example.com'").await;
    let demoted = me(&app, &ana.access).await.expect(200);
    app.execute(
        "update users set account_id = (select account_id from users where email = 'ben@example.com') where email = 'ana@example.com'",
    )
    .await;
    let moved = me(&app, &ana.access).await;
    let renewed = refresh(&app, &ana.refresh).await.expect(200);

    assert_eq!(demoted.data()["user"]["role"], "viewer");
    moved.expect_code(401, "token_revoked");
    assert_eq!(claims_of(&token(&renewed, "access"))["role"], "viewer");
    me(&app, &token(&renewed, "access")).await.expect(200);
}

// --- Logging in --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn login_answers_what_registration_does_and_remember_me_lasts_twenty_days() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let usual = log_in(&app, " ANA@example.com ", PASSWORD).await.expect(200);
    let form = json!({ "email": "ana@example.com", "password": PASSWORD, "remember_me": true });
    let remembered = app.post(LOGIN).json(form).send().await.expect(200);

    assert_eq!(usual.data()["user"]["id"], ana.user_id);
    assert_eq!(usual.data()["user"]["account"]["plan"]["slug"], "free-trial");
    assert_eq!(
        (&usual.data()["access_expires_at"], &usual.data()["refresh_expires_at"]),
        (&json!("2026-03-01T01:00:00Z"), &json!("2026-03-08T00:00:00Z"))
    );
    assert_eq!(remembered.data()["refresh_expires_at"], "2026-03-21T00:00:00Z");
    app.advance(19 * DAY);
    let renewed = refresh(&app, &token(&remembered, "refresh")).await.expect(200);
    assert_eq!(renewed.data()["refresh_expires_at"], "2026-04-09T00:00:00Z");
    refresh(&app, &token(&usual, "refresh")).await.expect_code(401, "token_expired");
}

#[tokio::test]
async fn every_refused_login_looks_alike() {
    let app = TestApp::start().await;
    for email in ["ana@example.com", "bot@example.com", "unusable@example.com", "deleted@example.com"] {
        app.register(email).await;
    }
    app.execute("update users set role = 'system_bot' where email = 'bot@example.com'").await;
    app.execute("update users set password_hash = '!' where email = 'unusable@example.com'").await;
    app.execute("update users set deleted_at = created_at, restore_until = created_at where email = 'deleted@example.com'").await;

    let mut bodies = Vec::new();
    for (email, password) in [
        ("ana@example.com", "wrong horse battery"),
        ("nobody@example.com", PASSWORD),
        ("bot@example.com", PASSWORD),
        ("unusable@example.com", PASSWORD),
        ("unusable@example.com", "!"),
        ("deleted@example.com", PASSWORD),
    ] {
        let mut reply = log_in(&app, email, password).await.expect_code(401, "invalid_credentials");
        reply.body["request_id"].take();
        bodies.push((reply.body, reply.headers.len()));
    }

    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[tokio::test]
async fn the_people_of_a_suspended_account_can_log_in_and_see_who_they_are() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    app.execute("update accounts set status = 'suspended'").await;

    let session = app.log_in("ana@example.com").await;

    let me = me(&app, &session.access).await.expect(200);
    assert_eq!(me.data()["user"]["account"]["status"], "suspended");
}

#[tokio::test]
async fn a_lapsed_trial_reads_suspended_before_any_scheduler_ran() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;

    app.advance(14 * DAY - Duration::from_micros(1));
    let before = app.log_in("ana@example.com").await;
    let status_before = me(&app, &before.access).await.expect(200);
    app.advance(Duration::from_micros(1));
    let status_at = me(&app, &before.access).await.expect(200);

    assert_eq!(status_before.data()["user"]["account"]["status"], "trial");
    assert_eq!(status_at.data()["user"]["account"]["status"], "suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_hash_opens_the_door_and_is_replaced_also_in_parallel() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    app.register("ana@example.com").await;
    // Python: base64(hashlib.pbkdf2_hmac("sha256", b"correct horse battery", b"NaCl0fDj4ng0", 1000)).
    app.execute("update users set password_hash = 'pbkdf2_sha256$1000$NaCl0fDj4ng0$DZGNLzlzBSR1SarZhqmQALHiOsiwatFcleWJ6bP0+v8='").await;
    log_in(&app, "ana@example.com", "wrong horse battery").await.expect(401);
    assert_eq!(app.count("select count(*) from users where password_hash like 'pbkdf2%'").await, 1);

    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        tasks.spawn(app.post(LOGIN).json(json!({ "email": "ana@example.com", "password": PASSWORD })).send());
    }
    let replies = tasks.join_all().await;

    for reply in replies {
        reply.expect(200);
    }
    assert_eq!(app.count("select count(*) from users where password_hash like '$argon2id$v=19$m=8,t=1,p=1$%'").await, 1);
    log_in(&app, "ana@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_password_that_was_changed_after_it_was_compared_opens_nothing() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let (email, password) = (Email::parse(&ana.email).unwrap(), Password(PASSWORD.into()));
    let visit = Visit { stay: Stay::Usual, device: Device::default() };

    let proof = prove(app.state.desk(), app.state.authenticator.join().unwrap(), &email, &password).await.unwrap();
    let form = json!({ "old_password": PASSWORD, "new_password": "another horse battery" });
    app.post(CHANGE_PASSWORD).json(form).bearer(&ana.access).send().await.expect(200);
    let mut connection = app.database().pool().acquire().await.unwrap();
    let opened =
        log_in_in(&mut connection, &app.state.authenticator, Entrance { proof: &proof, code: None, visit: &visit }, app.now()).await;

    assert!(matches!(opened, Err(LoginError::Changed)), "{opened:?}");
    assert_eq!(app.count("select count(*) from sessions").await, 1);
}

#[tokio::test]
async fn login_is_limited_per_client_address_and_per_email() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    app.advance(Duration::from_secs(60));

    for n in 0..5 {
        let form = json!({ "email": format!("nobody{n}@example.com"), "password": PASSWORD });
        app.post(LOGIN).json(form).from_address("10.9.9.9").send().await.expect(401);
    }
    let form = json!({ "email": "ana@example.com", "password": PASSWORD });
    let by_address = app.post(LOGIN).json(form).from_address("10.9.9.9").send().await;
    for _ in 0..5 {
        log_in(&app, "Ana@Example.com", "wrong horse battery").await.expect(401);
    }
    let by_email = log_in(&app, "ana@example.com", PASSWORD).await;

    for reply in [by_address, by_email] {
        assert!(!reply.expect_code(429, "throttled").header("retry-after").is_empty());
    }
    app.advance(Duration::from_secs(12));
    log_in(&app, "ana@example.com", PASSWORD).await.expect(200);
}

// --- Refreshing --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_refresh_rotates_and_each_pair_works() {
    let app = TestApp::start().await;
    let mut session = app.register("ana@example.com").await;

    for _ in 0..5 {
        app.advance(HOUR);
        me(&app, &session.access).await.expect_code(401, "token_expired");
        let renewed = refresh(&app, &session.refresh).await.expect(200);
        assert_ne!(token(&renewed, "refresh"), session.refresh);
        session.access = token(&renewed, "access");
        session.refresh = token(&renewed, "refresh");
        me(&app, &session.access).await.expect(200);
    }

    assert_eq!(app.count("select count(*) from refresh_tokens").await, 2, "older ones are forgotten");
    assert_eq!(app.count("select count(*) from sessions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_parallel_refreshes_with_one_token_all_work() {
    let app = Arc::new(TestApp::start().await);
    let session = app.register("ana@example.com").await;

    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        tasks.spawn(app.post(REFRESH).json(json!({ "refresh": session.refresh })).send());
    }
    let replies = tasks.join_all().await.into_iter().map(|reply| reply.expect(200)).collect::<Vec<_>>();

    for reply in &replies {
        me(&app, &token(reply, "access")).await.expect(200);
        app.advance(Duration::from_secs(4));
    }
    refresh(&app, &token(&replies[7], "refresh")).await.expect(200);
    assert_eq!(app.count("select generation::bigint from sessions").await, 2);
}

#[tokio::test]
async fn a_parent_works_for_thirty_seconds_and_then_kills_its_session() {
    let app = TestApp::start().await;
    let (parent, other) = (app.register("ana@example.com").await, app.log_in("ana@example.com").await);
    let child = refresh(&app, &parent.refresh).await.expect(200);

    app.advance(Duration::from_secs(30));
    let sibling = refresh(&app, &parent.refresh).await.expect(200);
    app.advance(Duration::from_secs(1));
    let replay = refresh(&app, &parent.refresh).await;

    replay.expect_code(401, "token_revoked");
    for pair in [&child, &sibling] {
        me(&app, &token(pair, "access")).await.expect_code(401, "token_revoked");
        refresh(&app, &token(pair, "refresh")).await.expect_code(401, "token_revoked");
    }
    me(&app, &other.access).await.expect(200);
    assert_eq!(app.count("select count(*) from sessions where revoked_reason = 'refresh_reused'").await, 1);
    assert_eq!(app.count("select count(*) from audit_log where action = 'session.refresh_reused'").await, 1);
}

#[tokio::test]
async fn a_grandparent_kills_its_session_even_within_the_grace() {
    let app = TestApp::start().await;
    let grandparent = app.register("ana@example.com").await;
    let parent = refresh(&app, &grandparent.refresh).await.expect(200);
    let child = refresh(&app, &token(&parent, "refresh")).await.expect(200);

    let replay = refresh(&app, &grandparent.refresh).await;

    replay.expect_code(401, "token_revoked");
    me(&app, &token(&child, "access")).await.expect_code(401, "token_revoked");
}

#[tokio::test]
async fn a_token_that_was_forgotten_kills_its_session_too() {
    let app = TestApp::start().await;
    let first = app.register("ana@example.com").await;
    let mut newest = first.refresh.clone();
    for _ in 0..4 {
        app.advance(HOUR);
        newest = token(&refresh(&app, &newest).await.expect(200), "refresh");
    }

    let replay = refresh(&app, &first.refresh).await;

    replay.expect_code(401, "token_revoked");
    refresh(&app, &newest).await.expect_code(401, "token_revoked");
}

#[tokio::test]
async fn an_access_token_is_no_refresh_token_and_the_other_way_round() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;

    let swapped = (refresh(&app, &session.access).await, me(&app, &session.refresh).await);

    swapped.0.expect_code(401, "token_invalid");
    swapped.1.expect_code(401, "token_invalid");
    app.post(REFRESH).json(json!({})).send().await.expect_code(400, "invalid_input");
}

// --- Forged tokens -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn no_forged_token_is_an_identity() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;
    let claims = claims_of(&session.access);
    let text = claims.to_string();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        forge(header, &claims.to_string(), JWT_SECRET)
    };
    me(&app, &forge(header, &text, JWT_SECRET)).await.expect(200);
    let signed = forge(header, &text, JWT_SECRET);
    let (message, signature) = signed.rsplit_once('.').unwrap();
    let unsigned = |header: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&text));

    let attacks = [
        ("none", unsigned(r#"{"alg":"none","typ":"JWT"}"#)),
        ("none, signed", forge(r#"{"alg":"none","typ":"JWT"}"#, &text, JWT_SECRET)),
        ("None", unsigned(r#"{"alg":"None","typ":"JWT"}"#)),
        ("empty signature", unsigned(header)),
        ("confused with RS256", forge(r#"{"alg":"RS256","typ":"JWT"}"#, &text, JWT_SECRET)),
        ("confused with HS512", forge(r#"{"alg":"HS512","typ":"JWT"}"#, &text, JWT_SECRET)),
        ("kid", forge(r#"{"alg":"HS256","typ":"JWT","kid":"/dev/null"}"#, &text, JWT_SECRET)),
        ("kid and empty key", forge(r#"{"alg":"HS256","typ":"JWT","kid":"/dev/null"}"#, &text, "")),
        ("crit", forge(r#"{"alg":"HS256","typ":"JWT","crit":["exp"]}"#, &text, JWT_SECRET)),
        ("jwk", forge(r#"{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"AAAA"}}"#, &text, "\0\0\0")),
        ("no typ", forge(r#"{"alg":"HS256"}"#, &text, JWT_SECRET)),
        ("another typ", forge(r#"{"alg":"HS256","typ":"at+jwt"}"#, &text, JWT_SECRET)),
        ("another key", forge(header, &text, "another secret of the tests, long enough")),
        ("empty key", forge(header, &text, "")),
        ("refresh", with("token_type", json!("refresh"))),
        ("another issuer", with("iss", json!("evil"))),
        ("another audience", with("aud", json!("evil"))),
        ("several audiences", with("aud", json!(["igny8-api", "evil"]))),
        ("expiry as text", with("exp", json!("9999999999"))),
        ("expiry as a fraction", with("exp", json!(9_999_999_999.5))),
        ("one claim more", with("is_superuser", json!(true))),
        ("user as text", with("user_id", json!(session.user_id.to_string()))),
        ("unknown role", with("role", json!("root"))),
        ("doubled claim", forge(header, &text.replacen('{', r#"{"user_id":1,"#, 1), JWT_SECRET)),
        ("doubled alg", forge(r#"{"alg":"HS256","alg":"none","typ":"JWT"}"#, &text, JWT_SECRET)),
        ("padding", format!("{message}.{signature}=")),
        ("standard alphabet", format!("{message}.{}+/", &signature[..signature.len() - 2])),
        ("four parts", format!("{signed}.x")),
        ("two parts", message.to_owned()),
        ("only dots", "..".to_owned()),
        ("not base64", "a.!.b".to_owned()),
        ("huge", format!("{}.{}.{}", "a".repeat(5_000), "b".repeat(5_000), "c".repeat(43))),
        ("huge, signed", with("aud", json!("a".repeat(5_000)))),
    ];

    for (name, attack) in attacks {
        let reply = me(&app, &attack).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (401, &json!("token_invalid")), "{name}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_signed_token_of_another_user_session_or_account_opens_nothing() {
    let app = TestApp::start().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);
    let with = |changes: &[(&str, Value)]| {
        let mut claims = claims_of(&ana.access);
        changes.iter().for_each(|(name, value)| claims[*name] = value.clone());
        forge(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), JWT_SECRET)
    };

    let attacks = [
        with(&[("user_id", json!(ben.user_id))]),
        with(&[("account_id", json!(ben.account_id))]),
        with(&[("account_id", json!(null))]),
        with(&[("sid", claims_of(&ben.access)["sid"].clone())]),
        with(&[("sid", json!(uuid::Uuid::nil()))]),
    ];

    for attack in attacks {
        me(&app, &attack).await.expect_code(401, "token_revoked");
    }
}

#[tokio::test]
async fn a_token_expires_in_its_second_and_not_before() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;

    app.advance(HOUR - Duration::from_micros(1));
    let before = me(&app, &session.access).await;
    app.advance(Duration::from_micros(1));
    let at = me(&app, &session.access).await;
    app.advance(Duration::from_secs(1));
    let after = me(&app, &session.access).await;

    before.expect(200);
    at.expect_code(401, "token_expired");
    assert_eq!(after.expect_code(401, "token_expired").header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_previous_secret_is_accepted_while_rotating() {
    let former = "the secret of last month, which is long enough";
    let app = TestApp::with(|config| config.jwt_previous_secret_keys = vec![former.into()]).await;
    let session = app.register("ana@example.com").await;
    let claims = claims_of(&session.access).to_string();

    let by_former = me(&app, &forge(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, former)).await;
    let by_forgotten = me(&app, &forge(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, "the secret of last year, which is long enough")).await;

    by_former.expect(200);
    by_forgotten.expect_code(401, "token_invalid");
}

// --- Sessions and passwords --------------------------------------------------------------------------------------

#[tokio::test]
async fn sessions_are_listed_newest_first_and_ended_one_by_one() {
    let app = TestApp::start().await;
    let first = app.register("ana@example.com").await;
    let ben = app.register("ben@example.com").await;
    app.advance(Duration::from_secs(60));
    let form = json!({ "email": "ana@example.com", "password": PASSWORD, "remember_me": true });
    let call = app.post(LOGIN).json(form).header("user-agent", "Firefox").from_address("10.0.0.7");
    let second = Session::of(&call.send().await.expect(200));

    let list = app.get(SESSIONS).bearer(&first.access).send().await.expect(200);
    let results = list.body["results"].as_array().unwrap();
    let newest = results[0]["id"].as_str().unwrap();
    let by_ben = app.delete(&format!("{SESSIONS}{newest}/")).bearer(&ben.access).send().await;
    let unknown = app.delete(&format!("{SESSIONS}{}/", uuid::Uuid::nil())).bearer(&first.access).send().await;
    let malformed = app.delete(&format!("{SESSIONS}7/")).bearer(&first.access).send().await;
    let ended = app.delete(&format!("{SESSIONS}{newest}/")).bearer(&first.access).send().await;
    let again = app.delete(&format!("{SESSIONS}{newest}/")).bearer(&first.access).send().await;

    assert_eq!((&list.body["count"], results.len()), (&json!(2), 2));
    assert_eq!(
        (&results[0]["user_agent"], &results[0]["client_address"], &results[0]["remember_me"]),
        (&json!("Firefox"), &json!("10.0.0.7"), &json!(true))
    );
    assert_eq!((&results[0]["is_current"], &results[1]["is_current"]), (&json!(false), &json!(true)));
    for reply in [by_ben, unknown, malformed, again] {
        reply.expect_code(404, "not_found");
    }
    ended.expect(200);
    me(&app, &second.access).await.expect_code(401, "token_revoked");
    me(&app, &first.access).await.expect(200);
}

#[tokio::test]
async fn logout_all_ends_every_session_of_the_user_and_no_others() {
    let app = TestApp::start().await;
    let (ana, again, ben) =
        (app.register("ana@example.com").await, app.log_in("ana@example.com").await, app.register("ben@example.com").await);

    let reply = app.post("/api/v1/auth/logout-all/").bearer(&ana.access).send().await.expect(200);

    assert_eq!(reply.data()["sessions_ended"], 2);
    for session in [&ana, &again] {
        me(&app, &session.access).await.expect_code(401, "token_revoked");
        refresh(&app, &session.refresh).await.expect_code(401, "token_revoked");
    }
    me(&app, &ben.access).await.expect(200);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions_and_keeps_this_one() {
    let app = TestApp::start().await;
    let (here, elsewhere) = (app.register("ana@example.com").await, app.log_in("ana@example.com").await);
    let change = async |old: &str, new: &str| {
        let form = json!({ "old_password": old, "new_password": new });
        app.post(CHANGE_PASSWORD).json(form).bearer(&here.access).send().await
    };

    let wrong = change("wrong horse battery", "another horse battery").await.expect_code(400, "invalid_input");
    let weak = change(PASSWORD, "ana@example.com").await.expect_code(400, "invalid_input");
    let changed = change(PASSWORD, "another horse battery").await.expect(200);

    assert_eq!(wrong.body["errors"], json!({ "old_password": ["This is not your present password."] }));
    assert_eq!(weak.body["errors"], json!({ "new_password": ["Do not use your email address as password."] }));
    assert_eq!(changed.data()["sessions_ended"], 1);
    me(&app, &here.access).await.expect(200);
    refresh(&app, &here.refresh).await.expect(200);
    me(&app, &elsewhere.access).await.expect_code(401, "token_revoked");
    refresh(&app, &elsewhere.refresh).await.expect_code(401, "token_revoked");
    log_in(&app, "ana@example.com", PASSWORD).await.expect_code(401, "invalid_credentials");
    log_in(&app, "ana@example.com", "another horse battery").await.expect(200);
    assert_eq!(app.count("select count(*) from audit_log where action = 'user.password_changed'").await, 1);
}

#[tokio::test]
async fn me_is_shown_and_changed_and_nothing_but_names_can_be() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let patch = async |body: Value| app.patch(ME).bearer(&ana.access).json(body).send().await;

    let changed =
        patch(json!({ "first_name": " Ana ", "last_name": "", "role": "developer", "is_superuser": true, "email": "x@example.com" }))
            .await
            .expect(200);
    let empty = patch(json!({})).await.expect(200);
    let wrong = patch(json!({ "username": "", "first_name": "x" })).await.expect_code(400, "invalid_input");

    let shown = me(&app, &ana.access).await.expect(200);
    assert_eq!(changed.data(), shown.data());
    assert_eq!(empty.data(), shown.data());
    let user = &shown.data()["user"];
    assert_eq!(
        (&user["first_name"], &user["username"], &user["role"], &user["email"]),
        (&json!("Ana"), &json!("ana"), &json!("owner"), &json!("ana@example.com"))
    );
    assert_eq!(wrong.body["errors"]["username"], json!(["This may not be empty."]));
    assert_eq!(
        user.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["account", "email", "email_verified", "first_name", "id", "is_frozen", "is_superuser", "last_name", "role", "username"]
    );
}

#[tokio::test]
async fn every_path_works_with_and_without_its_slash() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;

    let with = app.request(Method::GET, ME).bearer(&session.access).send().await;
    let without = app.request(Method::GET, ME.trim_end_matches('/')).bearer(&session.access).send().await;

    with.expect(200);
    without.expect(200);
}

#[tokio::test]
async fn no_password_and_no_token_is_stored_as_it_is() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;
    refresh(&app, &session.refresh).await.expect(200);

    let mut dump = String::new();
    for table in ["users", "sessions", "refresh_tokens", "audit_log", "credit_transactions", "accounts"] {
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select t::text from {table} t"))).fetch_all(app.pool()).await.unwrap();
        dump.extend(rows);
    }

    for secret in [PASSWORD, &session.access, &session.refresh, JWT_SECRET] {
        assert!(!dump.contains(secret));
    }
    assert!(dump.contains("ana@example.com"), "the dump is one");
}
