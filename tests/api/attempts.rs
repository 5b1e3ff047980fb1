//! Who fails to log in waits longer and longer; an owner whose account others attack does not.

use crate::support::{PASSWORD, Reply, TestApp, request_to};
use axum::http::Method;
use igny8::router::App;
use serde_json::json;
use std::{sync::Arc, time::Duration};

const LOGIN: &str = "/api/v1/auth/login/";
/// After it the limit in memory, five a minute, is no matter any more.
const MINUTE: Duration = Duration::from_secs(60);
const ATTACKER: &str = "203.0.113.9";
const HOME: &str = "198.51.100.7";

async fn try_at(instance: &App, email: &str, password: &str, address: &str) -> Reply {
    let form = json!({ "email": email, "password": password });
    request_to(instance, Method::POST, LOGIN).json(form).from_address(address).send().await
}

/// So many wrong guesses, slow enough for the limit in memory, from one address.
async fn fail(app: &TestApp, email: &str, address: &str, times: u32) {
    let instance = app.beside();
    for _ in 0..times {
        app.advance(Duration::from_secs(13));
        try_at(&instance, email, "wrong horse battery", address).await.expect_code(401, "invalid_credentials");
    }
}

fn waits(reply: Reply) -> u64 {
    reply.expect_code(429, "throttled").header("retry-after").parse().expect("seconds")
}

#[tokio::test]
async fn an_attacker_is_slowed_more_and_more_and_a_restart_forgets_nothing() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    fail(&app, "ana@example.com", ATTACKER, 5).await;

    let guess = async |instance: &App| try_at(instance, "ana@example.com", "wrong horse battery", ATTACKER).await;
    let first = waits(guess(&app.beside()).await);
    app.advance(Duration::from_secs(29));
    let still = waits(guess(&app.beside()).await);
    app.advance(Duration::from_secs(1));
    guess(&app.beside()).await.expect_code(401, "invalid_credentials");
    let second = waits(guess(&app.beside()).await);
    let right = waits(try_at(&app.beside(), "ana@example.com", PASSWORD, ATTACKER).await);
    app.advance(MINUTE);
    try_at(&app.beside(), "ana@example.com", PASSWORD, ATTACKER).await.expect(200);

    // What had to wait was neither compared nor counted, the right password included.
    assert_eq!((first, still, second, right), (30, 1, 60, 60));
}

#[tokio::test]
async fn the_owner_gets_in_at_the_first_try_while_others_attack_his_account() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    app.advance(MINUTE);
    try_at(&app.beside(), "ana@example.com", PASSWORD, HOME).await.expect(200);

    let attacked = app.beside();
    let mut last = 0;
    for host in 0..30 {
        // From many addresses, so that the limit for the e-mail address is used up as well.
        last = try_at(&attacked, "ana@example.com", "wrong horse battery", &format!("203.0.113.{host}")).await.status.as_u16();
    }
    let owner = try_at(&attacked, "ana@example.com", PASSWORD, HOME).await;
    fail(&app, "ana@example.com", ATTACKER, 5).await;
    let after_a_restart = try_at(&app.beside(), "ana@example.com", PASSWORD, HOME).await;
    let elsewhere = try_at(&app.beside(), "ana@example.com", PASSWORD, "192.0.2.44").await;

    assert_eq!(last, 429, "the attack was one");
    for reply in [owner, after_a_restart, elsewhere] {
        reply.expect(200);
    }
}

#[tokio::test]
async fn others_who_fail_at_the_owners_own_address_keep_him_out_for_no_more_than_a_minute() {
    let app = TestApp::start().await;
    for email in ["ana@example.com", "ben@example.com"] {
        app.register(email).await;
        app.advance(MINUTE);
        try_at(&app.beside(), email, PASSWORD, HOME).await.expect(200);
    }
    for number in 0..21 {
        app.advance(Duration::from_secs(13));
        try_at(&app.beside(), &format!("n{number}@example.com"), PASSWORD, HOME).await;
    }
    for _ in 0..15 {
        app.advance(MINUTE);
        try_at(&app.beside(), "ben@example.com", "wrong horse battery", HOME).await.expect_code(401, "invalid_credentials");
    }

    let stranger = waits(try_at(&app.beside(), "new@example.com", PASSWORD, HOME).await);
    let ana = try_at(&app.beside(), "ana@example.com", PASSWORD, HOME).await;
    let ben = waits(try_at(&app.beside(), "ben@example.com", PASSWORD, HOME).await);
    app.advance(MINUTE);
    let ben_a_minute_later = try_at(&app.beside(), "ben@example.com", PASSWORD, HOME).await;

    assert!(stranger > 30 || ben == 60, "{stranger} {ben}");
    assert_eq!(ben, 60);
    for reply in [ana, ben_a_minute_later] {
        reply.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_guesses_at_once_no_more_are_compared_than_one_after_the_other() {
    let app = Arc::new(TestApp::start().await);
    app.register("ana@example.com").await;
    app.advance(MINUTE);

    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..30 {
        // Each on an instance of its own: nothing in memory slows them.
        let instance = app.beside();
        guesses.spawn(async move { try_at(&instance, "ana@example.com", "wrong horse battery", ATTACKER).await.status.as_u16() });
    }
    let mut statuses = guesses.join_all().await;
    statuses.sort_unstable();

    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 25, "{statuses:?}");
}

#[tokio::test]
async fn who_logs_in_as_himself_wins_no_guesses_at_others_and_unknown_addresses_are_slowed_alike() {
    let app = TestApp::start().await;
    for email in ["eve@example.com", "ana@example.com"] {
        app.register(email).await;
    }
    fail(&app, "ana@example.com", ATTACKER, 5).await;
    app.advance(Duration::from_secs(13));
    try_at(&app.beside(), "eve@example.com", PASSWORD, ATTACKER).await.expect(200);

    let known = try_at(&app.beside(), "ana@example.com", "wrong horse battery", ATTACKER).await;
    fail(&app, "nobody@example.com", "203.0.113.10", 5).await;
    app.advance(Duration::from_secs(13));
    let unknown = try_at(&app.beside(), "nobody@example.com", "wrong horse battery", "203.0.113.10").await;

    let strip = |mut reply: Reply| {
        reply.body["request_id"].take();
        (reply.status, reply.body, reply.headers.len())
    };
    assert_eq!(strip(known), strip(unknown));
    assert_eq!(app.count("select max(failures)::bigint from login_counters").await, 5);
}

#[tokio::test]
async fn a_door_that_takes_passwords_beside_the_login_counts_too() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    let restore = async |password: &str| {
        let form = json!({ "email": "ana@example.com", "password": password });
        request_to(&app.beside(), Method::POST, "/api/v1/account/restore/").json(form).from_address(ATTACKER).send().await
    };

    for _ in 0..5 {
        restore("wrong horse battery").await.expect_code(401, "invalid_credentials");
    }
    let sixth = restore("wrong horse battery").await;
    let login = try_at(&app.beside(), "ana@example.com", PASSWORD, ATTACKER).await;

    assert_eq!((waits(sixth), waits(login)), (30, 30));
}

#[tokio::test]
async fn failures_are_forgotten_after_a_day_and_known_addresses_after_ninety() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    app.advance(MINUTE);
    try_at(&app.beside(), "ana@example.com", PASSWORD, HOME).await.expect(200);
    fail(&app, "ana@example.com", ATTACKER, 5).await;
    let purge = async || igny8::auth::attempts::service::purge(app.pool(), app.now()).await.unwrap();

    let at_once = purge().await;
    app.advance(MINUTE * 60 * 24);
    try_at(&app.beside(), "ana@example.com", "wrong horse battery", ATTACKER).await.expect_code(401, "invalid_credentials");
    let counted_anew = app.count("select max(failures)::bigint from login_counters").await;
    app.advance(MINUTE * 60 * 24 * 90);
    purge().await;

    assert_eq!((at_once, counted_anew), (0, 1));
    let left = "select (select count(*) from login_counters) + (select count(*) from known_addresses)";
    assert_eq!(app.count(left).await, 0);
}
