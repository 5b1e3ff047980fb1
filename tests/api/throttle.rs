//! Requirement F and the contract's section 7, on a clock that the test moves.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Call, PASSWORD, Reply, Session, TestApp};
use axum::http::StatusCode;
use futures::{StreamExt as _, stream};
use serde_json::json;
use std::time::Duration;

const ME: &str = "/api/v1/auth/me/";
const LOGIN: &str = "/api/v1/auth/login/";
const REGISTER: &str = "/api/v1/auth/register/";
const REFRESH: &str = "/api/v1/auth/refresh/";
const ACCOUNT: &str = "/api/v1/account/";
const SITES: &str = "/api/v1/auth/sites/";
const BALANCE: &str = "/api/v1/billing/credits/balance/";
const CHECK: &str = "/api/v1/billing/credits/check/";
const VERIFY_KEY: &str = "/api/v1/integration/verify-key/";
const MINUTE: Duration = Duration::from_secs(60);

/// What an answer says of its limit.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    limit: u32,
    remaining: u32,
    reset: i64,
}

#[track_caller]
fn told(reply: &Reply) -> Told {
    let number = |name: &str| reply.header(name).parse::<i64>().unwrap_or_else(|_| panic!("{name} of {} {}", reply.status, reply.text));
    let told = Told {
        limit: u32::try_from(number("x-throttle-limit")).expect("a limit"),
        remaining: u32::try_from(number("x-throttle-remaining")).expect("a rest"),
        reset: number("x-throttle-reset"),
    };
    let (present, policy) = (reply.header("ratelimit"), reply.header("ratelimit-policy"));
    assert!(present.contains(&format!(";r={};t=", told.remaining)), "{present}");
    assert!(policy.ends_with(&format!(";q={};w=60", told.limit)), "{policy}");
    assert_eq!(present.split(';').next(), policy.split(';').next(), "one scope");
    told
}

/// Asserts a 429 with all that belongs to it, and gives the seconds after which to come back.
#[track_caller]
fn refused(reply: Reply) -> u64 {
    let reply = reply.expect_code(429, "throttled");
    assert_eq!(told(&reply).remaining, 0);
    let seconds = reply.header("retry-after").parse::<u64>().expect("seconds");
    assert!(
        (1..=60).contains(&seconds) && reply.body["error"].as_str().expect("a sentence").contains(&format!("{seconds} s")),
        "{}",
        reply.text
    );
    seconds
}

async fn me(app: &TestApp, session: &Session) -> Reply {
    app.get(ME).bearer(&session.access).send().await
}

/// Sends requests until one is refused; how many passed.
async fn passed_before_429(call: impl Fn() -> Call, at_most: usize) -> usize {
    for passed in 0..=at_most {
        if call().send().await.status == StatusCode::TOO_MANY_REQUESTS {
            return passed;
        }
    }
    panic!("more than {at_most} requests passed")
}

async fn set_plan(app: &TestApp, staff: &Session, session: &Session, plan: &str) {
    let path = format!("/api/v1/billing/admin/accounts/{}/plan/", session.account_id);
    app.post(&path).bearer(&staff.access).json(json!({"plan_slug": plan, "reason": "a test"})).send().await.expect(200);
}

// --- Per account -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn f_the_21st_of_20_is_refused_with_all_headers_and_admitted_again_after_the_time() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let start = app.now().timestamp();

    let first = me(&app, &ana).await.expect(200);
    for _ in 1..20 {
        me(&app, &ana).await.expect(200);
    }
    let refusal = me(&app, &ana).await;

    assert_eq!(told(&first), Told { limit: 20, remaining: 19, reset: start + 3 });
    assert_eq!(told(&refusal), Told { limit: 20, remaining: 0, reset: start + 60 });
    let wait = refused(refusal);
    app.advance(Duration::from_secs(wait - 1));
    refused(me(&app, &ana).await);
    app.advance(Duration::from_secs(1));
    me(&app, &ana).await.expect(200);
    refused(me(&app, &ana).await);
    app.advance(MINUTE);
    assert_eq!(passed_before_429(|| app.get(ME).bearer(&ana.access), 20).await, 20);
}

#[tokio::test]
async fn f_a_refused_request_costs_nothing_more() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    passed_before_429(|| app.get(ME).bearer(&ana.access), 20).await;

    for _ in 0..100 {
        refused(me(&app, &ana).await);
    }

    app.advance(Duration::from_secs(3));
    me(&app, &ana).await.expect(200);
}

#[tokio::test]
async fn f_one_tenant_never_slows_another_and_one_scope_not_another() {
    let app = TestApp::start().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);

    // From one address: it is the account that counts.
    passed_before_429(|| app.get(ME).bearer(&ana.access).from_address("192.0.2.1"), 20).await;

    refused(app.get(ME).bearer(&ana.access).from_address("192.0.2.2").send().await);
    assert_eq!(told(&app.get(ME).bearer(&ben.access).from_address("192.0.2.1").send().await.expect(200)).remaining, 19);
    assert_eq!(told(&app.get(ACCOUNT).bearer(&ana.access).send().await.expect(200)).remaining, 99);
}

#[tokio::test]
async fn f_all_users_sessions_and_keys_of_an_account_share_its_limit() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let ana_elsewhere = app.log_in("ana@example.com").await;
    let site = app.post(SITES).bearer(&ana.access).json(json!({"name": "Blog"})).send().await.expect(201).data()["id"].as_i64().unwrap();
    let key = app.post(&format!("{SITES}{site}/api-key/")).bearer(&ana.access).send().await.expect(201);
    let key = key.data()["key"].as_str().unwrap();

    let by_token = told(&app.get(BALANCE).bearer(&ana.access).send().await.expect(200));
    let by_other_token = told(&app.get(BALANCE).bearer(&ana_elsewhere.access).send().await.expect(200));
    let by_key = told(&app.get(BALANCE).key(key).send().await.expect(200));

    assert_eq!((by_token.remaining, by_other_token.remaining, by_key.remaining), (599, 598, 597));
}

#[tokio::test]
async fn f_the_plan_multiplies_the_limit() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);

    for (plan, limit) in [("starter", 40), ("growth", 60), ("scale", 100), ("enterprise", 400), ("free", 20)] {
        set_plan(&app, &staff, &ana, plan).await;
        app.advance(MINUTE);

        assert_eq!(told(&me(&app, &ana).await.expect(200)).limit, limit, "{plan}");
        assert_eq!(passed_before_429(|| app.get(ME).bearer(&ana.access), 400).await + 1, usize::try_from(limit).unwrap(), "{plan}");
    }
}

#[tokio::test]
async fn f_each_scope_has_the_limit_of_the_contract() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    app.advance(MINUTE);
    let own = |call: Call| call.bearer(&ana.access);
    let by_staff = |call: Call| call.bearer(&staff.access);

    // Staff are on enterprise, which has twenty times the limit.
    for (call, scope, limit) in [
        (app.post(LOGIN), "auth_strict", 5),
        (app.post(REGISTER), "auth_strict", 5),
        (app.post(REFRESH), "auth", 20),
        (app.post("/api/v1/auth/logout/"), "auth", 20),
        (own(app.get(ME)), "auth", 20),
        (own(app.get(SITES)), "content_read", 100),
        (own(app.post(SITES)), "content_write", 30),
        (own(app.get(ACCOUNT)), "default", 100),
        (own(app.get("/api/v1/billing/invoices/")), "billing", 30),
        (own(app.post("/api/v1/account/upgrade/")), "billing", 30),
        (own(app.get(BALANCE)), "credits", 600),
        (own(app.post(CHECK)), "credits", 600),
        (app.get("/api/schema/"), "system", 100),
        (by_staff(app.get("/api/v1/billing/admin/plans/")), "billing_admin_read", 60 * 20),
        (by_staff(app.patch("/api/v1/billing/admin/plans/starter/")), "billing_admin", 10 * 20),
        (by_staff(app.patch("/api/v1/billing/admin/credit-costs/clustering/")), "billing_admin", 10 * 20),
        (by_staff(app.post("/api/v1/billing/admin/confirm-bank-transfer/")), "billing_admin", 10 * 20),
        (by_staff(app.post("/api/v1/billing/confirm-bank-transfer/")), "billing_admin", 10 * 20),
    ] {
        let path = call.path().to_owned();
        let reply = call.send().await;

        assert_eq!(told(&reply).limit, limit, "{path}");
        assert_eq!(reply.header("ratelimit-policy"), format!("\"{scope}\";q={limit};w=60"), "{path}");
    }
}

#[tokio::test]
async fn f_200_requests_at_once_admit_exactly_the_limit() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let statuses = stream::iter(0..200)
        .map(|_| tokio::spawn(app.get(ME).bearer(&ana.access).send()))
        .buffer_unordered(200)
        .map(|reply| reply.unwrap().status.as_u16())
        .collect::<Vec<_>>()
        .await;

    let count = |status: u16| statuses.iter().filter(|known| **known == status).count();
    assert_eq!((count(200), count(429)), (20, 180));
}

// --- What counts -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn f_every_throttled_answer_tells_its_limit_whatever_it_is() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let own = |call: Call| call.bearer(&ana.access);

    for (status, call) in [
        (200, own(app.get(ME))),
        (201, own(app.post(SITES)).json(json!({"name": "Blog"}))),
        (400, own(app.post(SITES)).json(json!({}))),
        (401, app.get(ME)),
        (401, app.get(ME).bearer("a.b.c")),
        (401, app.get(VERIFY_KEY).key("junk")),
        (402, own(app.post("/api/v1/billing/credits/deduct/")).json(json!({"operation": "clustering", "quantity": 1_000_000}))),
        (403, app.get(ME).header("cookie", "sessionid=x")),
        (403, own(app.get("/api/v1/billing/admin/plans/"))),
        (404, own(app.get("/api/v1/auth/sites/999/"))),
        (413, app.post(LOGIN).body("application/json", "x".repeat(10_000))),
        (415, own(app.post(SITES)).body("text/plain", "x")),
        (422, own(app.post(SITES)).json(json!({"name": "Second"}))),
    ] {
        let reply = call.send().await.expect(status);

        let told = told(&reply);
        assert!(told.remaining < told.limit, "{status}: {told:?}");
    }
}

#[tokio::test]
async fn f_what_the_gate_refuses_counts_as_well() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    app.execute("update accounts set status = 'suspended' where is_system = false").await;
    let create = || app.post(SITES).bearer(&ana.access).json(json!({"name": "Blog"}));

    let first = create().send().await.expect_code(403, "account_suspended");

    assert_eq!(told(&first).remaining, 29);
    assert_eq!(passed_before_429(create, 30).await, 29);
}

#[tokio::test]
async fn f_status_plans_and_health_are_never_throttled() {
    let app = TestApp::start().await;

    for path in ["/api/v1/system/status/", "/api/v1/auth/plans/", "/api/v1/auth/plans/starter/", "/healthz", "/readyz"] {
        for _ in 0..150 {
            let reply = app.get(path).from_address("192.0.2.1").send().await.expect(200);
            assert_eq!(reply.header("x-throttle-limit"), "", "{path}");
        }
    }
}

#[tokio::test]
async fn f_development_can_switch_it_off() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;

    for _ in 0..50 {
        let reply = me(&app, &ana).await.expect(200);
        assert_eq!(told(&reply).remaining, 20);
    }
}

// --- Before authentication ---------------------------------------------------------------------------------------

/// A request that counts by address: 20 a minute.
fn stranger(app: &TestApp, address: &str) -> Call {
    app.post(REFRESH).json(json!({"refresh": "a.b.c"})).from_address(address)
}

async fn behind(proxies: &str) -> TestApp {
    let networks = proxies.split(',').map(|network| network.parse().expect("a network")).collect();
    TestApp::with(|config| config.trusted_proxies = networks).await
}

#[tokio::test]
async fn f_before_authentication_the_address_counts() {
    let app = TestApp::start().await;

    assert_eq!(passed_before_429(|| stranger(&app, "192.0.2.1"), 20).await, 20);

    stranger(&app, "192.0.2.2").send().await.expect(401);
    // A token that opens nothing is nobody's: guessing is counted by address too.
    assert_eq!(passed_before_429(|| app.get(ME).bearer("a.b.c").from_address("192.0.2.1"), 20).await, 0);
    // Who is known is not slowed by strangers from his address.
    let ana = app.register("ana@example.com").await;
    app.get(ME).bearer(&ana.access).from_address("192.0.2.1").send().await.expect(200);
}

#[tokio::test]
async fn f_a_thousand_forged_addresses_from_an_untrusted_peer_are_one_bucket() {
    let app = behind("10.9.0.0/16").await;

    let mut passed = 0;
    for n in 0..1_000 {
        let forged = format!("203.0.{}.{}", n / 250, n % 250);
        let call = stranger(&app, "192.0.2.1").header("x-forwarded-for", &forged).header("forwarded", &format!("for={forged}"));
        let reply = call.header("x-real-ip", &forged).header("cf-connecting-ip", &forged).send().await;
        passed += usize::from(reply.status != StatusCode::TOO_MANY_REQUESTS);
    }

    assert_eq!(passed, 20);
}

#[tokio::test]
async fn f_behind_a_trusted_proxy_the_rightmost_untrusted_hop_counts() {
    let app = behind("10.9.0.0/16,fd00::/8").await;
    let from = |hops: &str| stranger(&app, "10.9.0.1").header("x-forwarded-for", hops);
    passed_before_429(|| from("198.51.100.7"), 20).await;

    // The same client, whatever he writes before the address that our proxy adds, and through two proxies of ours.
    for hops in ["1.1.1.1, 198.51.100.7", "junk, 198.51.100.7", "198.51.100.8,198.51.100.7, 10.9.0.2", "::ffff:198.51.100.7, fd00::1"] {
        refused(from(hops).send().await);
    }
    refused(stranger(&app, "10.9.0.1").header("x-forwarded-for", "1.1.1.1").header("x-forwarded-for", "198.51.100.7").send().await);
    // Another client.
    for hops in ["198.51.100.8", "198.51.100.7, 198.51.100.8", "198.51.100.7, 198.51.100.8, 10.9.3.3"] {
        from(hops).send().await.expect(401);
    }
    // What no proxy of ours has written ends the walk: the proxy itself is counted.
    for hops in ["", "junk", "198.51.100.7, junk", "198.51.100.7:80, "] {
        assert!(told(&from(hops).send().await.expect(401)).remaining >= 15, "{hops}");
    }
}

#[tokio::test]
async fn f_ipv6_counts_by_its_64_and_mapped_ipv4_as_ipv4() {
    let app = TestApp::start().await;

    let mut host = 0;
    let mut passed = 0;
    while passed <= 20 {
        host += 1;
        if stranger(&app, &format!("2001:db8:1:2::{host:x}")).send().await.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        passed += 1;
    }

    assert_eq!(passed, 20);
    refused(stranger(&app, "2001:db8:1:2:ffff:ffff:ffff:ffff").send().await);
    stranger(&app, "2001:db8:1:3::1").send().await.expect(401);
    stranger(&app, "192.0.2.1").send().await.expect(401);
    assert_eq!(told(&stranger(&app, "::ffff:192.0.2.1").send().await.expect(401)).remaining, 18);
}

// --- Sign-in -----------------------------------------------------------------------------------------------------

fn guess(app: &TestApp, email: &str) -> Call {
    app.post(LOGIN).json(json!({"email": email, "password": "a wrong one, surely"}))
}

#[tokio::test]
async fn f_logins_count_per_address_and_per_email_however_it_is_spelled() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    app.advance(MINUTE);
    let spellings = ["ana@example.com", "ANA@example.com", " ana@EXAMPLE.com ", "\u{ff41}na@example.com", "Ana@Example.Com"];

    // Each guess comes from an address of its own.
    for email in spellings {
        guess(&app, email).send().await.expect_code(401, "invalid_credentials");
    }
    let sixth = guess(&app, "aNa@example.com").send().await;
    let unknown = guess(&app, "nobody@example.com").send().await.expect_code(401, "invalid_credentials");

    assert_eq!(told(&sixth).limit, 5);
    refused(sixth);
    assert_eq!(told(&unknown).remaining, 4);
    assert_eq!(
        passed_before_429(|| guess(&app, &format!("{}@example.com", uuid::Uuid::from_u128(7))).from_address("192.0.2.9"), 5).await,
        5
    );
    refused(app.post(LOGIN).json(json!({"email": "ben@example.com", "password": PASSWORD})).from_address("192.0.2.9").send().await);
}

#[tokio::test]
async fn f_who_guesses_does_not_lock_the_owner_out_of_anything_but_signing_in() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    for _ in 0..100 {
        guess(&app, "ana@example.com").send().await;
    }

    refused(app.post(LOGIN).json(json!({"email": "ana@example.com", "password": PASSWORD})).send().await);
    me(&app, &ana).await.expect(200);
    app.post(SITES).bearer(&ana.access).json(json!({"name": "Blog"})).send().await.expect(201);
    let again = app.post(REFRESH).json(json!({"refresh": ana.refresh})).send().await.expect(200);
    assert!(again.data()["access"].is_string());
    app.advance(MINUTE);
    app.log_in("ana@example.com").await;
}
