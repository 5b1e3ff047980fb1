//! Spends on trust: whom this process has let in before is asked for by the statement that spends, and by nothing else.

use crate::support::{Session, TestApp, request_to};
use axum::http::Method;
use serde_json::json;
use std::time::Duration;

const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const CHECK: &str = "/api/v1/billing/credits/check/";
const ENTRIES: &str = "select count(*) from credit_transactions where kind = 'deduction'";

/// What may happen to somebody between two of his spends, and what the gate says of it then.
const CHANGES: &[(&str, u16, &str)] = &[
    ("update sessions set revoked_at = created_at, revoked_reason = 'logout'", 401, "token_revoked"),
    ("update sessions set expires_at = created_at + interval '1 microsecond'", 401, "token_revoked"),
    ("update users set is_active = false", 401, "token_revoked"),
    ("update users set deleted_at = created_at, restore_until = created_at", 401, "token_revoked"),
    ("update accounts set deleted_at = created_at, restore_until = created_at", 401, "token_revoked"),
    ("update users set role = 'viewer'", 403, "role_required"),
    ("update accounts set status = 'suspended'", 403, "account_suspended"),
    ("update accounts set status = 'cancelled'", 403, "account_cancelled"),
    ("update subscriptions set current_period_end = current_period_start + interval '1 microsecond'", 403, "account_suspended"),
    ("update plans set is_active = false", 402, "plan_inactive"),
];

async fn spend(app: &TestApp, session: &Session) -> crate::support::Reply {
    app.post(DEDUCT).bearer(&session.access).json(json!({ "operation": "clustering", "quantity": 1 })).send().await
}

/// Somebody whom this process has let in before: his spends are taken on trust from now on.
async fn known(app: &TestApp) -> Session {
    let session = app.register("ana@example.com").await;
    spend(app, &session).await.expect(201);
    session
}

#[tokio::test]
async fn a_debit_on_trust_needs_nothing_but_the_statement_that_spends() {
    let (app, relay) = TestApp::relayed().await;
    let (ana, ben) = (known(&app).await, app.register("ben@example.com").await);
    relay.take();

    spend(&app, &ana).await.expect(201);
    let on_trust = relay.take();
    spend(&app, &ben).await.expect(201);
    let unknown = relay.take();

    assert!(on_trust.len() == 1 && on_trust[0].contains("insert into credit_transactions"), "{on_trust:#?}");
    assert!(unknown.len() == 2 && unknown[0].contains("from sessions"), "{unknown:#?}");
}

#[tokio::test]
async fn whatever_changed_since_stops_the_next_spend_as_the_gate_would_have() {
    for (change, status, code) in CHANGES {
        let app = TestApp::start().await;
        let ana = known(&app).await;

        // As another instance does it: this one is told nothing.
        app.execute(change).await;
        app.advance(Duration::from_secs(1));
        let refused = spend(&app, &ana).await;
        let by_the_gate = app.post(CHECK).bearer(&ana.access).json(json!({ "operation": "clustering", "quantity": 1 })).send().await;

        assert_eq!((refused.status.as_u16(), &refused.body["code"]), (*status, &json!(code)), "{change}: {}", refused.text);
        assert_eq!(refused.body["error"], by_the_gate.body["error"], "{change}");
        assert_eq!(app.count(ENTRIES).await, 1, "{change}");
    }
}

/// Each of these takes something from somebody, or might: the database counts the authority of ana's account on.
const RENEWING: &[&str] = &[
    "update accounts set status = 'active'",
    "update accounts set deleted_at = created_at, restore_until = created_at",
    "update accounts set plan_id = (select plan_id from plans where slug = 'free')",
    "update accounts set is_system = true",
    "update accounts set throttle_factor = 7",
    "update accounts set name = 'Another'",
    "update users set username = 'another'",
    "update accounts set throttle_factor = 7, throttle_factor_until = created_at + interval '1 day'",
    "update users set role = 'admin'",
    "update users set is_active = false",
    "update users set deleted_at = created_at, restore_until = created_at",
    "insert into users (account_id, email, username, role, password_hash, created_at, updated_at) \
     select account_id, 'ben@example.com', 'ben', 'editor', '!', created_at, created_at from accounts",
    "update sessions set revoked_at = created_at, revoked_reason = 'logout'",
    "update sessions set expires_at = expires_at - interval '1 microsecond'",
    "delete from sessions",
    "update subscriptions set status = 'canceled'",
    "update subscriptions set cancel_at_period_end = true",
    "update subscriptions set current_period_end = current_period_end + interval '1 second'",
    "update subscriptions set next_plan_id = plan_id, next_plan_at = current_period_end",
    "update sites set is_active = false",
    "update sites set url = 'https://elsewhere.example.com'",
    "update sites set deleted_at = created_at, restore_until = created_at",
    "insert into sites (account_id, name, slug, created_at, updated_at) select account_id, 'B', 'b', created_at, created_at from accounts",
    "update site_keys set revoked_at = created_at",
    "update site_keys set expires_at = created_at",
    "update site_keys set scopes = '{read}'",
    "delete from site_keys",
];

/// Each of these concerns what every account's spends rest on.
const RENEWING_RULES: &[&str] = &[
    "update plans set is_active = false where slug = 'free'",
    "update plans set throttle_factor = 2 where slug = 'free'",
    "update credit_costs set cost = cost + 1 where operation = 'clustering'",
];

/// What happens all the time and takes nothing from anybody.
const QUIET: &[&str] = &[
    "update accounts set billing_email = 'bills@example.com', updated_at = updated_at + interval '1 second'",
    "update users set last_login_at = created_at, password_hash = '!!'",
    "update sessions set expires_at = expires_at + interval '1 day', generation = generation + 1",
    "update site_keys set last_used_at = created_at",
    "update accounts set status = status",
];

/// What may happen to a site between two spends by its key, and what the gate says of it then.
const CHANGES_OF_SITES: &[(&str, u16, &str)] = &[
    ("update site_keys set revoked_at = created_at", 401, "key_revoked"),
    ("update site_keys set expires_at = created_at", 401, "key_revoked"),
    ("update site_keys set scopes = '{read}'", 403, "key_scope_missing"),
    ("update sites set is_active = false", 403, "site_inactive"),
    ("update sites set deleted_at = created_at, restore_until = created_at", 401, "key_revoked"),
    ("update sites set url = 'https://elsewhere.example.com'", 409, "site_url_changed"),
    ("update accounts set status = 'suspended'", 403, "account_suspended"),
    ("update plans set is_active = false", 402, "plan_inactive"),
];

#[tokio::test]
async fn a_sites_key_is_taken_on_trust_and_stopped_by_whatever_changed_since() {
    for (change, status, code) in CHANGES_OF_SITES {
        let app = TestApp::start().await;
        let ana = app.register("ana@example.com").await;
        let key = app.key_of_a_site(&ana, "https://blog.example.com").await;
        let call = |path| app.post(path).key(&key).header("x-igny8-home-url", "https://blog.example.com");
        let send = |path| call(path).json(json!({ "operation": "clustering", "quantity": 1 })).send();
        send(DEDUCT).await.expect(201);

        app.execute(change).await;
        let (refused, by_the_gate) = (send(DEDUCT).await, send(CHECK).await);

        assert_eq!((refused.status.as_u16(), &refused.body["code"]), (*status, &json!(code)), "{change}: {}", refused.text);
        if *code != "key_scope_missing" {
            assert_eq!(refused.body["error"], by_the_gate.body["error"], "{change}");
        }
        assert_eq!(app.count(ENTRIES).await, 1, "{change}");
    }
}

#[tokio::test]
async fn a_known_key_needs_nothing_but_the_statement_for_a_minute_and_only_from_home() {
    let (app, relay) = TestApp::relayed().await;
    let ana = app.register("ana@example.com").await;
    let key = app.key_of_a_site(&ana, "https://blog.example.com").await;
    let spend_from = |home: &'static str| {
        let call = app.post(DEDUCT).key(&key).header("x-igny8-home-url", home);
        call.json(json!({ "operation": "clustering", "quantity": 1 })).send()
    };
    // How often a key was looked up since.
    let lookups = || relay.take().iter().filter(|text| text.contains("from site_keys k")).count();
    spend_from("https://blog.example.com").await.expect(201);
    lookups();

    spend_from("https://blog.example.com").await.expect(201);
    let known = lookups();
    spend_from("https://staging.example.com").await.expect_code(409, "site_url_changed");
    let elsewhere = lookups();
    app.advance(Duration::from_secs(60));
    spend_from("https://blog.example.com").await.expect(201);

    assert_eq!((known, elsewhere, lookups()), (0, 1, 1));
}

#[tokio::test]
async fn whoever_changes_what_a_right_to_spend_rests_on_changes_its_version_by_whichever_way() {
    let app = TestApp::start().await;
    let ana = known(&app).await;
    app.key_of_a_site(&ana, "https://blog.example.com").await;
    let authority = || app.count("select authority from credit_balances");
    let rules = || app.count("select version from spending_rules");

    for (changes, (counts_account, counts_rules)) in [(RENEWING, (true, false)), (RENEWING_RULES, (false, true)), (QUIET, (false, false))] {
        for change in changes {
            let mut tx = igny8::db::begin(app.pool()).await.expect("a transaction");
            let before = (versions(&mut tx).await, authority().await, rules().await);
            sqlx::query(sqlx::AssertSqlSafe(*change)).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{change}: {error}"));
            let after = versions(&mut tx).await;
            tx.rollback().await.expect("rolled back");

            assert_eq!(before.0, (before.1, before.2));
            assert_eq!((after.0 > before.1, after.1 > before.2), (counts_account, counts_rules), "{change}");
        }
    }
}

async fn versions(connection: &mut sqlx::PgConnection) -> (i64, i64) {
    let both = "select authority, (select version from spending_rules) from credit_balances";
    sqlx::query_as(both).fetch_one(connection).await.expect("one account")
}

#[tokio::test]
async fn a_users_other_account_is_not_debited_by_an_old_token() {
    let app = TestApp::start().await;
    let ana = known(&app).await;
    app.register("ben@example.com").await;

    app.execute(
        "update users set account_id = (select account_id from users where email = 'ben@example.com') where email = 'ana@example.com'",
    )
    .await;

    spend(&app, &ana).await.expect_code(401, "token_revoked");
    assert_eq!(app.count(ENTRIES).await, 1);
}

#[tokio::test]
async fn a_logout_on_one_instance_stops_spends_on_the_other() {
    let app = TestApp::start().await;
    let other = app.beside();
    let ana = app.register("ana@example.com").await;
    let spend_there =
        || request_to(&other, Method::POST, DEDUCT).bearer(&ana.access).json(json!({ "operation": "clustering", "quantity": 1 })).send();
    spend_there().await.expect(201);

    app.post("/api/v1/auth/logout-all/").bearer(&ana.access).send().await.expect(200);

    spend_there().await.expect_code(401, "token_revoked");
}

#[tokio::test]
async fn nobody_is_told_what_is_wrong_with_a_request_that_he_may_not_send() {
    let app = TestApp::start().await;
    let ana = known(&app).await;
    let send = |body: &'static str| app.post(DEDUCT).bearer(&ana.access).body("application/json", body).send();

    let (malformed, refused) = (send("{").await, send("{}").await);
    app.execute("update users set is_active = false").await;

    malformed.expect(400);
    refused.expect(400);
    send("{").await.expect_code(401, "token_revoked");
    send("{}").await.expect_code(401, "token_revoked");
}

#[tokio::test]
async fn a_replay_and_an_empty_purse_are_told_only_to_whom_may_still_spend() {
    let app = TestApp::start().await;
    let ana = known(&app).await;
    let send = |key: &'static str, quantity: i64| {
        let body = json!({ "operation": "image_generation", "quantity": quantity });
        app.post(DEDUCT).bearer(&ana.access).header("idempotency-key", key).json(body).send()
    };
    let first = send("k", 2).await.expect(201);

    let replay = send("k", 2).await.expect(201);
    let short = send("l", 10_000).await.expect_code(402, "insufficient_credits");
    app.execute("update accounts set status = 'suspended'").await;

    assert_eq!((replay.header("idempotent-replayed").as_str(), replay.data()), ("true", first.data()));
    assert_eq!((&short.body["required"], &short.body["available"]), (&json!(50_000), &json!(1_980)));
    send("k", 2).await.expect_code(403, "account_suspended");
    send("l", 10_000).await.expect_code(403, "account_suspended");
    app.execute("update accounts set status = 'trial'").await;
    app.verify().await;
}

#[tokio::test]
async fn another_plans_limit_counts_from_the_second_request_on() {
    let app = TestApp::start().await;
    let ana = known(&app).await;

    app.execute("update plans set throttle_factor = 2").await;
    let (first, second) = (spend(&app, &ana).await.expect(201), spend(&app, &ana).await.expect(201));

    assert_eq!((first.header("x-throttle-limit").as_str(), second.header("x-throttle-limit").as_str()), ("600", "1200"));
}

#[tokio::test]
async fn each_of_many_on_trust_at_once_has_his_own_answer() {
    let app = TestApp::start().await;
    let ana = known(&app).await;
    let viewer = app.log_in("ana@example.com").await;
    spend(&app, &viewer).await.expect(201);
    let gone = json!({ "refresh": viewer.refresh });
    app.post("/api/v1/auth/logout/").json(gone).send().await.expect(200);

    let call = |session: &Session| app.post(DEDUCT).bearer(&session.access).json(json!({ "operation": "clustering", "quantity": 1 }));
    let calls = (0..100).map(|place| tokio::spawn(call(if place % 2 == 0 { &ana } else { &viewer }).send())).collect::<Vec<_>>();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.expect("an answer").status.as_u16());
    }

    assert!(statuses.iter().enumerate().all(|(place, status)| *status == if place % 2 == 0 { 201 } else { 401 }), "{statuses:?}");
    assert_eq!(app.count(ENTRIES).await, 52);
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_beside_a_debit_that_leaves_too_little_for_it_is_still_answered_as_the_first() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = known(&app).await;
    let send = |key: Option<&str>, quantity: i64| {
        let call = app.post(DEDUCT).bearer(&ana.access).json(json!({ "operation": "image_generation", "quantity": quantity }));
        let call = if let Some(key) = key { call.header("idempotency-key", key) } else { call };
        tokio::spawn(call.send())
    };
    // Of 1,990 credits so much that less is left.
    let first = send(Some("much"), 250).await.expect("an answer").expect(201);

    // What waits while a batch is under way is decided together by the next one.
    for _ in 0..20 {
        let calls = (0..12).map(|place| send(Some("much").filter(|_| place % 3 == 2), if place % 3 == 2 { 250 } else { 1 }));
        for (place, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
            let reply = call.await.expect("an answer");
            if place % 3 == 2 {
                assert_eq!((reply.status.as_u16(), &reply.body["data"]), (201, first.data()), "{}", reply.text);
            }
        }
    }
    app.verify().await;
}
