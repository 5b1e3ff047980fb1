//! Holds: credits reserved before the work and paid after it, however many ask at once.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Call, Reply, Session, TestApp, TestDatabase, request_to, tenant::Tenant};
use axum::http::Method;
use futures::{StreamExt as _, future::join_all, stream};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
};

const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const HOLDS: &str = "/api/v1/billing/credits/holds/";
/// How long a hold lasts where nothing is asked.
const FIFTEEN_MINUTES: Duration = Duration::from_secs(900);
const MICRO: Duration = Duration::from_micros(1);

/// A job that costs exactly so many credits: a hundred words each.
fn words(credits: i64) -> Value {
    json!({"operation": "content_generation", "quantity": credits * 100})
}

async fn unthrottled() -> TestApp {
    TestApp::with(|config| config.throttle_disabled = true).await
}

fn place(app: &TestApp, who: &Session, credits: i64) -> Call {
    app.post(HOLDS).bearer(&who.access).json(words(credits))
}

/// A new hold's number.
async fn hold(app: &TestApp, who: &Session, credits: i64) -> i64 {
    place(app, who, credits).send().await.expect(201).data()["hold"]["id"].as_i64().unwrap()
}

fn capture(app: &TestApp, who: &Session, id: i64) -> Call {
    app.post(&format!("{HOLDS}{id}/capture/")).bearer(&who.access)
}

fn release(app: &TestApp, who: &Session, id: i64) -> Call {
    app.post(&format!("{HOLDS}{id}/release/")).bearer(&who.access)
}

async fn spend(app: &TestApp, who: &Session, credits: i64) -> Reply {
    app.post(DEDUCT).bearer(&who.access).json(words(credits)).send().await
}

/// Credits, held, available.
async fn balance(app: &TestApp, who: &Session) -> (i64, i64, i64) {
    let balance = app.get("/api/v1/billing/credits/balance/").bearer(&who.access).send().await.expect(200);
    let number = |name: &str| balance.data()[name].as_i64().unwrap();
    (number("credits"), number("held"), number("available"))
}

async fn status_of(app: &TestApp, who: &Session, id: i64) -> String {
    let hold = app.get(&format!("{HOLDS}{id}/")).bearer(&who.access).send().await.expect(200);
    hold.data()["status"].as_str().unwrap().to_owned()
}

/// Pays for starter, which resets the plan pool to 1,000.
async fn renew(app: &TestApp, staff: &Session, who: &Session, reference: &str) -> Reply {
    let transfer = json!({"account_id": who.account_id, "external_payment_id": reference, "amount": "89.00", "payer_name": "Ana", "plan_slug": "starter"});
    app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(transfer).send().await
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|answer| **answer == status).count()
}

/// Sends them all at once, each from a task of its own.
async fn statuses(calls: Vec<Call>) -> Vec<u16> {
    let tasks = calls.into_iter().map(|call| tokio::spawn(async move { call.send().await.status.as_u16() }));
    join_all(tasks.collect::<Vec<_>>()).await.into_iter().map(|status| status.unwrap()).collect()
}

#[tokio::test]
async fn a_hold_is_reserved_then_captured_in_part_at_the_price_of_then() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let job = json!({"operation": "image_generation", "quantity": 4, "description": "Header images", "metadata": {"post": 7}, "reference": "job-1", "expires_in_seconds": 60});

    let held = app.post(HOLDS).bearer(&ana.access).json(job).send().await.expect(201);
    let while_held = balance(&app, &ana).await;
    let dearer = json!({"cost": 50, "reason": "models got dearer"});
    app.patch("/api/v1/billing/admin/credit-costs/image_generation/").bearer(&staff.access).json(dearer).send().await.expect(200);
    let captured = capture(&app, &ana, 1).json(json!({"quantity": 3})).send().await.expect(201);

    assert_eq!(
        held.data(),
        &json!({"available": 1980, "hold": {
            "id": 1, "status": "open", "amount": 20, "operation": "image_generation", "quantity": 4, "unit_cost": 5, "description": "Header images",
            "metadata": {"post": 7}, "reference": "job-1", "created_at": "2026-03-01T00:00:00Z", "expires_at": "2026-03-01T00:01:00Z",
            "settled_at": null, "captured_quantity": null, "transaction_id": null
        }})
    );
    assert_eq!((while_held, balance(&app, &ana).await), ((2_000, 20, 1_980), (1_985, 0, 1_985)));
    let (hold, entry) = (&captured.data()["hold"], &captured.data()["transaction"]);
    assert_eq!(
        (hold["status"].as_str(), hold["captured_quantity"].as_i64(), hold["transaction_id"].as_i64()),
        (Some("captured"), Some(3), Some(2))
    );
    assert_eq!((captured.data()["balance"].as_i64(), captured.data()["available"].as_i64()), (Some(1_985), Some(1_985)));
    assert_eq!((entry["type"].as_str(), entry["amount"].as_i64(), entry["quantity"].as_i64()), (Some("deduction"), Some(-15), Some(3)));
    assert_eq!(
        (&entry["description"], &entry["metadata"], &entry["reference"]),
        (&json!("Header images"), &json!({"post": 7}), &json!("job-1"))
    );
    let newest = app.get("/api/v1/billing/credits/transactions/?page_size=1").bearer(&ana.access).send().await.expect(200);
    assert_eq!(&newest.body["results"][0], entry, "the ledger tells the same");
    assert_eq!(app.get(&format!("{HOLDS}1/")).bearer(&ana.access).send().await.expect(200).data(), hold);
    app.verify().await;
}

#[tokio::test]
async fn what_is_held_is_kept_from_every_other_spend_and_quote() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    hold(&app, &ana, 1_990).await;

    let ask = async |route: &str, body: Value| {
        let path = format!("/api/v1/billing/credits/{route}/");
        app.post(&path).bearer(&ana.access).json(body).send().await.expect(200).data().clone()
    };
    let (check, quote) = (ask("check", words(11)).await, ask("quote", json!({"items": [words(11)]})).await);
    let (debit, second) = (spend(&app, &ana, 11).await, place(&app, &ana, 11).send().await);
    spend(&app, &ana, 10).await.expect(201);

    assert_eq!((check["available"].as_i64(), check["sufficient"].as_bool()), (Some(10), Some(false)));
    assert_eq!((quote["available"].as_i64(), quote["items"][0]["affordable"].as_i64()), (Some(10), Some(1_000)));
    for refused in [debit, second] {
        let refused = refused.expect_code(402, "insufficient_credits");
        assert_eq!((refused.body["required"].as_i64(), refused.body["available"].as_i64()), (Some(11), Some(10)));
    }
    assert_eq!(balance(&app, &ana).await, (1_990, 1_990, 0));
    app.verify().await;
}

#[tokio::test]
async fn a_settled_hold_is_settled_and_says_how() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let (captured, released, expired) = (hold(&app, &ana, 10).await, hold(&app, &ana, 20).await, hold(&app, &ana, 30).await);
    capture(&app, &ana, captured).send().await.expect(201);
    let let_go = release(&app, &ana, released).send().await.expect(200);
    app.advance(FIFTEEN_MINUTES);

    for (id, state) in [(captured, "captured"), (released, "released"), (expired, "expired")] {
        for call in [capture(&app, &ana, id), release(&app, &ana, id), capture(&app, &ana, id).json(json!({"quantity": 1_000_000}))] {
            let refused = call.send().await.expect_code(409, "hold_not_open");
            assert_eq!(refused.body["state"], state);
        }
        assert_eq!(status_of(&app, &ana, id).await, state);
    }
    assert_eq!((&let_go.data()["hold"]["status"], &let_go.data()["available"]), (&json!("released"), &json!(1_960)));
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'deduction'").await, 1);
    assert_eq!(balance(&app, &ana).await, (1_990, 0, 1_990));
    app.verify().await;
}

#[tokio::test]
async fn a_capture_takes_at_most_what_was_held_and_a_refusal_leaves_the_hold_open() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let id = hold(&app, &ana, 10).await;

    let refused = capture(&app, &ana, id).json(json!({"quantity": 1_001})).send().await.expect_code(409, "capture_exceeds_hold");
    let bad =
        app.post(HOLDS).bearer(&ana.access).json(json!({"operation": "mining", "quantity": 0, "expires_in_seconds": 86_401})).send().await;

    assert_eq!((refused.body["held"].as_i64(), refused.body["given"].as_i64()), (Some(1_000), Some(1_001)));
    let bad = bad.expect_code(400, "invalid_input");
    assert_eq!(bad.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["expires_in_seconds", "operation", "quantity"]);
    assert_eq!((status_of(&app, &ana, id).await.as_str(), balance(&app, &ana).await), ("open", (2_000, 10, 1_990)));
    for unknown in ["2", "0", "-1", "9223372036854775807", "9223372036854775808", "x"] {
        for word in ["capture", "release"] {
            app.post(&format!("{HOLDS}{unknown}/{word}/")).bearer(&ana.access).send().await.expect_code(404, "not_found");
        }
        app.get(&format!("{HOLDS}{unknown}/")).bearer(&ana.access).send().await.expect_code(404, "not_found");
    }
}

#[tokio::test]
async fn an_expired_hold_reserves_nothing_though_no_job_ran() {
    let app = TestApp::start().await;
    let other = app.beside();
    let ana = app.register("ana@example.com").await;
    hold(&app, &ana, 2_000).await;
    app.advance(FIFTEEN_MINUTES - MICRO);
    let a_moment_before = (balance(&app, &ana).await, spend(&app, &ana, 1).await.status.as_u16());
    app.advance(MICRO);

    let at_the_end = balance(&app, &ana).await;
    let unwritten = app.count("select count(*) from credit_holds where status = 'open'").await;
    let expired = app.get(&format!("{HOLDS}?status=expired")).bearer(&ana.access).send().await.expect(200);
    let open = app.get(&format!("{HOLDS}?status=open&count=true")).bearer(&ana.access).send().await.expect(200);
    request_to(&other, Method::POST, DEDUCT).bearer(&ana.access).json(words(2_000)).send().await.expect(201);

    assert_eq!((a_moment_before, at_the_end), (((2_000, 2_000, 0), 402), (2_000, 0, 2_000)));
    assert_eq!(unwritten, 1, "nobody had written down the end when these were asked");
    assert_eq!((&expired.body["results"][0]["settled_at"], &open.body["count"]), (&json!("2026-03-01T00:15:00Z"), &json!(0)));
    assert_eq!(app.count("select held from credit_balances").await, 0, "whoever locks the balance writes it down");
    app.verify().await;
}

#[tokio::test]
async fn a_hold_placed_on_one_instance_is_kept_from_debits_on_the_other() {
    let app = TestApp::start().await;
    let other = app.beside();
    let ana = app.register("ana@example.com").await;
    let there = |path: &str, body: Value| request_to(&other, Method::POST, path).bearer(&ana.access).json(body).send();
    // From here on this instance remembers the pools, and asks nobody before it spends.
    spend(&app, &ana, 1).await.expect(201);

    there(HOLDS, words(1_999)).await.expect(201);
    let while_held = spend(&app, &ana, 1).await;
    there(&format!("{HOLDS}1/release/"), json!({})).await.expect(200);
    let after = spend(&app, &ana, 1_999).await;

    while_held.expect_code(402, "insufficient_credits");
    after.expect(201);
    app.verify().await;
}

#[tokio::test]
async fn the_job_writes_down_what_expired_once_and_leaves_the_rest() {
    let app = TestApp::start().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);
    let (short, long) = (hold(&app, &ana, 5).await, json!({"operation": "clustering", "quantity": 1, "expires_in_seconds": 86_400}));
    app.post(HOLDS).bearer(&ana.access).json(long).send().await.expect(201);
    hold(&app, &ben, 7).await;
    app.advance(FIFTEEN_MINUTES);

    let due = || igny8::credits::holds::service::expire_due(app.pool(), app.now());
    let (one, two) = futures::join!(due(), due());
    let again = due().await.unwrap();

    assert!(one.unwrap() + two.unwrap() >= 2);
    assert_eq!((again, app.count("select count(*) from credit_holds where status = 'expired'").await), (0, 2));
    assert_eq!((status_of(&app, &ana, short).await.as_str(), balance(&app, &ana).await.1, balance(&app, &ben).await.1), ("expired", 10, 0));
    app.verify().await;
}

#[tokio::test]
async fn a_hundred_parallel_holds_of_fifty_on_a_thousand_are_admitted_exactly_twenty_times() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;
    spend(&app, &ana, 1_000).await.expect(201);

    let answers = statuses((0..100).map(|_| place(&app, &ana, 50)).collect()).await;

    assert_eq!((count(&answers, 201), count(&answers, 402)), (20, 80), "{answers:?}");
    assert_eq!(balance(&app, &ana).await, (1_000, 1_000, 0));
    app.verify().await;
}

#[tokio::test]
async fn twenty_captures_at_once_pay_once() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;
    for round in 1..=5 {
        let id = hold(&app, &ana, 10).await;

        let calls = (0..20).map(|n| if n % 4 == 3 { release(&app, &ana, id) } else { capture(&app, &ana, id) });
        let answers = statuses(calls.collect()).await;

        assert_eq!((count(&answers, 201) + count(&answers, 200), count(&answers, 409)), (1, 19), "{answers:?}");
        let paid = app.count("select count(*) from credit_transactions where kind = 'deduction'").await;
        assert!(paid <= round && app.count("select held from credit_balances").await == 0);
    }
    app.verify().await;
}

#[tokio::test]
async fn keys_sent_again_and_again_over_debits_and_holds_have_one_effect_each() {
    let app = unthrottled().await;
    let other = app.beside();
    let ana = app.register("ana@example.com").await;
    let on_either = |n: usize, path: &str| if n.is_multiple_of(2) { app.post(path) } else { request_to(&other, Method::POST, path) };

    // 150 keys, 20 times each, in an order of their own, on two instances; a third of them for debits.
    let replayed = stream::iter(0..3_000)
        .map(|n: usize| {
            let key = (n * 7) % 150;
            let path = if key.is_multiple_of(3) { DEDUCT } else { HOLDS };
            let call = on_either(n, path).bearer(&ana.access).header("Idempotency-Key", &format!("key-{key}")).json(words(1));
            async move { call.send().await.expect(201).headers.contains_key("idempotent-replayed") }
        })
        .buffer_unordered(60)
        .filter(|replayed| std::future::ready(*replayed))
        .count()
        .await;
    let captures = (0..40).map(|n: usize| {
        let path = format!("{HOLDS}{}/capture/", 1 + n % 2);
        on_either(n / 2, &path).bearer(&ana.access).header("Idempotency-Key", &format!("capture-{}", n % 2))
    });
    let captures = statuses(captures.collect()).await;

    assert_eq!(replayed, 2_850);
    assert_eq!(count(&captures, 201), 40, "{captures:?}");
    assert_eq!(balance(&app, &ana).await, (2_000 - 50 - 2, 98, 2_000 - 150));
    app.verify().await;
}

#[tokio::test]
async fn a_replay_is_the_first_answer_and_a_key_is_one_over_all_routes() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let keyed = |call: Call, key: &str| call.header("Idempotency-Key", key).send();

    let placed = keyed(place(&app, &ana, 10), "a").await.expect(201);
    let captured = keyed(capture(&app, &ana, 1), "b").await.expect(201);
    keyed(place(&app, &ana, 10), "c").await.expect(201);
    let released = keyed(release(&app, &ana, 2), "d").await.expect(200);
    keyed(app.post(DEDUCT).bearer(&ana.access).json(words(1)), "e").await.expect(201);

    for (first, call, key, status) in [
        (&placed, place(&app, &ana, 10), "a", 201),
        (&captured, capture(&app, &ana, 1), "b", 201),
        (&released, release(&app, &ana, 2), "d", 200),
    ] {
        let again = keyed(call, key).await.expect(status);
        assert_eq!((again.header("idempotent-replayed").as_str(), again.data().to_string()), ("true", first.data().to_string()));
    }
    for (call, key) in [
        (place(&app, &ana, 11), "a"),
        (app.post(DEDUCT).bearer(&ana.access).json(words(10)), "a"),
        (release(&app, &ana, 1), "b"),
        (place(&app, &ana, 1), "e"),
        (capture(&app, &ana, 2), "e"),
        (app.post("/api/v1/account/upgrade/").bearer(&ana.access).json(json!({"plan_slug": "starter"})), "a"),
    ] {
        keyed(call, key).await.expect_code(409, "idempotency_key_reused");
    }
    // What was refused has used no key.
    keyed(place(&app, &ana, 9_999), "f").await.expect(402);
    keyed(place(&app, &ana, 1), "f").await.expect(201);
    assert_eq!(balance(&app, &ana).await, (1_989, 1, 1_988));
    app.verify().await;
}

#[tokio::test]
async fn a_site_key_sees_and_settles_only_what_its_site_placed() {
    let app = TestApp::start().await;
    let ana = Tenant::new(&app, "ana@example.com").await;
    let job = json!({"operation": "clustering", "quantity": 1});
    let by_site = app.post(HOLDS).key(&ana.key).json(job.clone()).send().await.expect(201).data()["hold"]["id"].as_i64().unwrap();
    let second = app.post(HOLDS).key(&ana.key).json(job).send().await.expect(201).data()["hold"]["id"].as_i64().unwrap();

    for word in ["", "capture/", "release/"] {
        let method = if word.is_empty() { Method::GET } else { Method::POST };
        let path = format!("{HOLDS}{}/{word}", ana.hold);
        app.request(method, &path).key(&ana.key).send().await.expect_code(404, "not_found");
    }
    app.get(&format!("{HOLDS}{by_site}/")).key(&ana.key).send().await.expect(200);
    let captured = app.post(&format!("{HOLDS}{by_site}/capture/")).key(&ana.key).send().await.expect(201);
    release(&app, &ana.session, second).send().await.expect(200);

    assert_eq!(captured.data()["hold"]["status"], "captured");
    assert_eq!(status_of(&app, &ana.session, ana.hold).await, "open");
    app.verify().await;
}

#[tokio::test]
async fn a_reset_displaces_the_newest_holds_that_are_not_covered_any_more() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let ids = [hold(&app, &ana, 600).await, hold(&app, &ana, 400).await, hold(&app, &ana, 1).await, hold(&app, &ana, 500).await];

    renew(&app, &staff, &ana, "BT-1").await.expect(200);

    let mut told = Vec::new();
    for id in ids {
        told.push(status_of(&app, &ana, id).await);
    }
    assert_eq!(told, ["open", "open", "displaced", "displaced"]);
    assert_eq!(balance(&app, &ana).await, (1_000, 1_000, 0));
    let refused = capture(&app, &ana, ids[3]).send().await.expect_code(409, "hold_not_open");
    assert_eq!(refused.body["state"], "displaced");
    app.verify().await;
    capture(&app, &ana, ids[0]).send().await.expect(201);
    assert_eq!(balance(&app, &ana).await, (400, 400, 0));
    app.verify().await;
}

#[tokio::test]
async fn a_lot_that_ends_displaces_the_newest_holds() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let gift = json!({"amount": 50, "reason": "a present", "expires_at": "2026-03-01T00:05:00Z"});
    app.post(&format!("/api/v1/billing/admin/accounts/{}/credits/", ana.account_id))
        .bearer(&staff.access)
        .json(gift)
        .send()
        .await
        .expect(201);
    let (first, second) = (hold(&app, &ana, 1_980).await, hold(&app, &ana, 40).await);
    app.advance(Duration::from_secs(300));

    let before_it_is_written = balance(&app, &ana).await;
    let refused = spend(&app, &ana, 21).await.expect_code(402, "insufficient_credits");

    assert_eq!((before_it_is_written, refused.body["available"].as_i64()), ((2_000, 2_000, 0), Some(20)));
    assert_eq!((status_of(&app, &ana, first).await.as_str(), status_of(&app, &ana, second).await.as_str()), ("open", "displaced"));
    assert_eq!(balance(&app, &ana).await, (2_000, 1_980, 20));
    app.verify().await;
}

#[tokio::test]
async fn staff_take_away_only_what_is_not_held() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    hold(&app, &ana, 1_500).await;
    let take = |amount: i64| {
        let path = format!("/api/v1/billing/admin/accounts/{}/credits/", ana.account_id);
        app.post(&path).bearer(&staff.access).json(json!({"amount": -amount, "reason": "a mistake"})).send()
    };

    take(501).await.expect_code(402, "insufficient_credits");
    take(500).await.expect(201);

    assert_eq!(balance(&app, &ana).await, (1_500, 1_500, 0));
    app.verify().await;
}

#[tokio::test]
async fn an_account_has_a_thousand_open_holds_at_the_most() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;

    let answers = statuses((0..1_010).map(|_| place(&app, &ana, 1)).collect()).await;
    let refused = place(&app, &ana, 1).send().await;

    let placed = count(&answers, 201);
    assert!(answers.iter().all(|status| [201, 422, 503].contains(status)) && placed <= 1_000, "{placed}");
    for _ in placed..1_000 {
        place(&app, &ana, 1).send().await;
    }
    drop(refused);
    let refused = place(&app, &ana, 1).send().await.expect_code(422, "too_many_holds");
    assert_eq!(refused.body["limit"], 1_000);
    assert_eq!(app.count("select count(*) from credit_holds where status = 'open'").await, 1_000);
    release(&app, &ana, 7).send().await.expect(200);
    place(&app, &ana, 1).send().await.expect(201);
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_beside_debits_beside_renewals_on_two_instances_lose_nothing() {
    let app = unthrottled().await;
    let other = app.beside();
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    renew(&app, &staff, &ana, "BT-0").await.expect(200);

    for round in 1..=4 {
        let on_either = |n: usize, path: &str| if n.is_multiple_of(2) { app.post(path) } else { request_to(&other, Method::POST, path) };
        let last = app.count("select coalesce(max(hold_seq), 0) from credit_holds").await;
        let calls = (0..160usize).map(|n| match n % 4 {
            0 => on_either(n / 4, DEDUCT).bearer(&ana.access).json(words(3)),
            1 => on_either(n / 4, HOLDS).bearer(&ana.access).json(words(20)),
            // Mostly of what this round places, or has not placed yet.
            2 => on_either(n / 4, &format!("{HOLDS}{}/capture/", last + i64::try_from(n / 8).unwrap()))
                .bearer(&ana.access)
                .json(json!({"quantity": 700})),
            _ => on_either(n / 4, &format!("{HOLDS}{}/release/", last + i64::try_from(n / 6).unwrap())).bearer(&ana.access),
        });
        let reference = format!("BT-{round}");
        let (answers, renewal) = futures::join!(statuses(calls.collect()), renew(&app, &staff, &ana, &reference));

        renewal.expect(200);
        assert!(answers.iter().all(|status| [200, 201, 402, 404, 409].contains(status)), "{answers:?}");
        app.verify().await;
    }
    assert!(app.count("select count(*) from credit_holds where status = 'captured'").await > 0);
}

#[tokio::test]
async fn a_lost_connection_settles_no_hold_twice() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;
    let calls = stream::iter(0..600usize).map(|n| {
        let call = if n.is_multiple_of(3) { app.post(DEDUCT) } else { app.post(HOLDS) };
        let job = json!({"operation": "content_generation", "quantity": 100, "reference": format!("job-{n}")});
        let call = call.bearer(&ana.access).json(job);
        let call = if n % 3 == 2 { call.header("Idempotency-Key", &format!("key-{n}")) } else { call };
        async move { (n % 3, call.send().await.status.as_u16()) }
    });
    let cutting = async {
        let mut cut_off = 0;
        // Whoever is at work on a batch loses its connection, also in the middle of a commit. Bounded, should nobody ever be.
        for _ in 0..5_000 {
            let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'
                         and (query ilike 'commit%' or query like '%credit_holds%' or query like '%with ' || 'entry as%')";
            cut_off += sqlx::query_scalar::<_, i64>(cut).fetch_one(app.pool()).await.unwrap();
            if cut_off >= 10 {
                break;
            }
        }
        cut_off
    };
    let (answers, cut_off) = futures::join!(calls.buffer_unordered(20).collect::<Vec<_>>(), cutting);

    assert!(cut_off >= 10, "only {cut_off} were cut off");
    assert!(answers.iter().all(|(_, status)| [201, 503].contains(status)), "{answers:?}");
    let done = |kind: usize| i64::try_from(answers.iter().filter(|answer| **answer == (kind, 201)).count()).unwrap();
    let sent = |kind: usize| i64::try_from(answers.iter().filter(|(sent, _)| *sent == kind).count()).unwrap();
    let (credits, held, _) = balance(&app, &ana).await;
    assert_eq!(credits, 2_000 - done(0), "debits are answered with 201 exactly as often as taken");
    // A hold without a key whose commit was lost may stand, and is answered 503; never twice.
    let keyed = app.count("select count(*) from idempotency_keys").await;
    assert!((done(1)..=sent(1)).contains(&(held - keyed)) && (done(2)..=sent(2)).contains(&keyed), "{held} {keyed}");
    let twice = "select count(*) from (select 1 from credit_holds group by reference having count(*) > 1) t";
    assert_eq!(app.count(twice).await, 0);
    app.verify().await;
}

/// Stands between a server and its Postgres, and can lose the answer to a COMMIT that was done.
struct Eavesdropper {
    /// Where the server connects to.
    url: String,
    /// How many answers are still to be lost.
    to_lose: Arc<AtomicUsize>,
}

impl Eavesdropper {
    async fn before(database: &TestDatabase) -> Self {
        let options: PgConnectOptions = database.url().parse().unwrap();
        let folder = std::env::temp_dir().join(format!("igny8-lost-{}", std::process::id()));
        let socket = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::remove_file(&socket).ok();
        let (listener, to_lose) = (UnixListener::bind(&socket).unwrap(), Arc::new(AtomicUsize::new(0)));
        let lost = Arc::clone(&to_lose);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let lost = Arc::clone(&lost);
                match options.get_socket() {
                    Some(real) => {
                        let real = real.join(format!(".s.PGSQL.{}", options.get_port()));
                        tokio::spawn(carry(client, UnixStream::connect(real).await.unwrap(), lost))
                    }
                    None => {
                        let real = TcpStream::connect((options.get_host(), options.get_port())).await.unwrap();
                        tokio::spawn(carry(client, real, lost))
                    }
                };
            }
        });
        // The last host of an address counts.
        let more = if database.url().contains('?') { '&' } else { '?' };
        Eavesdropper { url: format!("{}{more}host={}", database.url(), folder.display()), to_lose }
    }

    fn lose_next(&self) {
        self.to_lose.store(1, Ordering::SeqCst);
    }
}

/// Carries both ways until one side ends, or an answer is to be lost: then both ends are closed.
async fn carry(mut client: UnixStream, mut server: impl AsyncRead + AsyncWrite + Unpin, to_lose: Arc<AtomicUsize>) {
    let (mut asked, mut answered, mut is_lost) = ([0; 16_384], [0; 16_384], false);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(length @ 1..) => {
                    let asked = asked.get(..length).unwrap();
                    is_lost |= asked.windows(6).any(|word| word == b"COMMIT") && to_lose.swap(0, Ordering::SeqCst) == 1;
                    server.write_all(asked).await.unwrap();
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) if !is_lost => drop(client.write_all(answered.get(..length).unwrap()).await),
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_by_its_key_and_never_done_twice() {
    let database = TestDatabase::new().await;
    let eavesdropper = Eavesdropper::before(&database).await;
    let app = TestApp::connected(database, eavesdropper.url.clone(), |_| {}).await;
    let ana = app.register("ana@example.com").await;
    let lost = |call: Call| {
        eavesdropper.lose_next();
        call.send()
    };

    let unkeyed = lost(place(&app, &ana, 10)).await;
    let keyed = lost(place(&app, &ana, 10).header("Idempotency-Key", "a")).await;
    let captured = lost(capture(&app, &ana, 2).header("Idempotency-Key", "b")).await;
    let captured_without_key = lost(capture(&app, &ana, 1)).await;
    let again = capture(&app, &ana, 1).send().await;

    assert_eq!(eavesdropper.to_lose.load(Ordering::SeqCst), 0, "each answer was lost");
    unkeyed.expect_code(503, "try_again");
    assert_eq!(keyed.expect(201).data()["hold"]["id"], 2);
    assert_eq!(captured.expect(201).data()["transaction"]["id"], 2);
    captured_without_key.expect_code(503, "try_again");
    assert_eq!(again.expect_code(409, "hold_not_open").body["state"], "captured");
    assert_eq!((app.count("select count(*) from credit_holds").await, balance(&app, &ana).await), (2, (1_980, 0, 1_980)));
    app.verify().await;
}

#[tokio::test]
async fn what_costs_nothing_is_an_entry_of_nothing() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    spend(&app, &ana, 2_000).await.expect(201);
    let free = json!({"cost": 0, "reason": "a present"});
    app.patch("/api/v1/billing/admin/credit-costs/clustering/").bearer(&staff.access).json(free).send().await.expect(200);
    let job = json!({"operation": "clustering", "quantity": 1});

    let deducted = app.post(DEDUCT).bearer(&ana.access).json(job.clone()).send().await.expect(201);
    let held = app.post(HOLDS).bearer(&ana.access).json(job).send().await.expect(201);
    let captured = capture(&app, &ana, 1).send().await.expect(201);

    assert_eq!((deducted.data()["transaction"]["amount"].as_i64(), deducted.data()["balance"].as_i64()), (Some(0), Some(0)));
    assert_eq!(held.data()["hold"]["amount"], 0);
    assert_eq!((&captured.data()["transaction"]["amount"], &captured.data()["transaction"]["id"]), (&json!(0), &json!(4)));
    app.verify().await;
}

#[tokio::test]
async fn whoever_may_not_spend_any_more_settles_no_hold() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    hold(&app, &ana, 10).await;

    app.execute("update users set role = 'viewer'").await;
    let refused =
        [capture(&app, &ana, 1), release(&app, &ana, 1), place(&app, &ana, 1), capture(&app, &ana, 2), app.post(HOLDS).bearer(&ana.access)];
    for call in refused {
        call.send().await.expect_code(403, "role_required");
    }
    let seen = app.get(&format!("{HOLDS}1/")).bearer(&ana.access).send().await.expect(200);
    app.execute("update users set role = 'owner'").await;
    app.execute("update accounts set status = 'suspended'").await;
    capture(&app, &ana, 1).send().await.expect_code(403, "account_suspended");

    assert_eq!(seen.data()["status"], "open");
    app.execute("update accounts set status = 'trial'").await;
    capture(&app, &ana, 1).send().await.expect(201);
    app.verify().await;
}

#[tokio::test]
async fn holds_are_paged_by_cursor_newest_first_and_filtered() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    for _ in 0..5 {
        hold(&app, &ana, 1).await;
    }
    release(&app, &ana, 2).send().await.expect(200);
    let ids = |reply: &Reply| reply.body["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>();
    let list = async |query: &str| app.get(&format!("{HOLDS}?{query}")).bearer(&ana.access).send().await.expect(200);
    let follow = |link: &Value| link.as_str().unwrap().split_once('?').unwrap().1.to_owned();

    let first = list("page_size=2&status=open&count=true").await;
    let second = list(&follow(&first.body["next"])).await;
    let back = list(&follow(&second.body["previous"])).await;

    assert_eq!((ids(&first), ids(&second), ids(&back)), (vec![5, 4], vec![3, 1], vec![5, 4]));
    assert_eq!((first.body["count"].as_i64(), second.body["next"].is_null()), (Some(4), true));
    app.get(&format!("{HOLDS}?status=lost")).bearer(&ana.access).send().await.expect_code(400, "invalid_input");
}
