//! Extra credits that expire, credits that are given back, and keys that were used elsewhere.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp, request_to};
use axum::http::Method;
use futures::{StreamExt as _, stream};
use igny8::router::App;
use serde_json::{Value, json};
use std::time::Duration;

const CREDITS: &str = "/api/v1/billing/credits";
/// Until the lots of these tests end.
const TEN_MINUTES: Duration = Duration::from_secs(600);
const END: &str = "2026-03-01T00:10:00Z";
const MICRO: Duration = Duration::from_micros(1);

/// An account without plan credits, and staff.
async fn start() -> (TestApp, Session, Session) {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    spend(&app, &ana, 2_000).await.expect(201);
    (app, ana, staff)
}

async fn spend(app: &TestApp, who: &Session, credits: i64) -> Reply {
    let job = json!({"operation": "content_generation", "quantity": credits * 100});
    app.post(&format!("{CREDITS}/deduct/")).bearer(&who.access).json(job).send().await
}

async fn give(app: &TestApp, staff: &Session, to: &Session, body: Value) -> Reply {
    app.post(&format!("/api/v1/billing/admin/accounts/{}/credits/", to.account_id)).bearer(&staff.access).json(body).send().await
}

fn until(amount: i64, expires_at: &str) -> Value {
    json!({"amount": amount, "reason": "a present", "expires_at": expires_at})
}

fn for_ever(amount: i64) -> Value {
    json!({"amount": amount, "reason": "a present"})
}

async fn credits_of(app: &TestApp, who: &Session) -> i64 {
    app.get(&format!("{CREDITS}/balance/")).bearer(&who.access).send().await.expect(200).data()["credits"].as_i64().unwrap()
}

#[tokio::test]
async fn a_lot_can_be_spent_until_the_last_microsecond_and_not_from_its_end_on() {
    let (app, ana, staff) = start().await;
    give(&app, &staff, &ana, until(50, END)).await.expect(201);
    app.advance(TEN_MINUTES - MICRO);
    let a_moment_before = (credits_of(&app, &ana).await, spend(&app, &ana, 20).await.status.as_u16());
    app.advance(MICRO);

    let (read, check) = (credits_of(&app, &ana).await, json!({"operation": "clustering", "quantity": 1}));
    let check = app.post(&format!("{CREDITS}/check/")).bearer(&ana.access).json(check).send().await.expect(200);
    let me = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(200);
    let unwritten = app.count("select count(*) from credit_transactions where kind = 'expiry'").await;
    let refused = spend(&app, &ana, 1).await.expect_code(402, "insufficient_credits");

    assert_eq!(a_moment_before, (50, 201));
    assert_eq!((read, check.data()["available"].as_i64(), me.data()["user"]["account"]["credits"].as_i64()), (0, Some(0), Some(0)));
    assert_eq!(unwritten, 0, "nobody had written down the end when these were asked");
    assert_eq!((refused.body["available"].as_i64(), credits_of(&app, &ana).await), (Some(0), 0));
    let newest = app.get(&format!("{CREDITS}/transactions/?page_size=1")).bearer(&ana.access).send().await.expect(200);
    let newest = &newest.body["results"][0];
    assert_eq!((newest["type"].as_str(), newest["amount"].as_i64(), newest["created_at"].as_str()), (Some("expiry"), Some(-30), Some(END)));
    assert_eq!((newest["metadata"]["lot"].as_i64(), app.count("select count(*) from credit_lots").await), (Some(3), 0));
    app.verify().await;
}

#[tokio::test]
async fn what_expires_first_is_spent_first_and_what_never_does_last() {
    let (app, ana, staff) = start().await;
    give(&app, &staff, &ana, for_ever(10)).await.expect(201);
    give(&app, &staff, &ana, until(40, "2026-03-01T00:20:00Z")).await.expect(201);
    spend(&app, &ana, 15).await.expect(201);
    // Expires sooner, though it comes later.
    give(&app, &staff, &ana, until(30, END)).await.expect(201);
    spend(&app, &ana, 20).await.expect(201);
    give(&app, &staff, &ana, for_ever(5)).await.expect(201);

    app.advance(TEN_MINUTES);
    let after_the_first_end = credits_of(&app, &ana).await;
    spend(&app, &ana, 5).await.expect(201);
    app.advance(TEN_MINUTES);
    let after_the_second = credits_of(&app, &ana).await;
    spend(&app, &ana, 15).await.expect(201);

    // 10 + 5 kept; of the 40 first 15, then 5 were spent; of the 30 twenty.
    assert_eq!((after_the_first_end, after_the_second, credits_of(&app, &ana).await), (10 + 25 + 5, 15, 0));
    app.verify().await;
}

#[tokio::test]
async fn lots_that_ended_long_ago_are_gone_for_every_reader_and_are_written_down_at_their_own_instants() {
    let (app, ana, staff) = start().await;
    for (amount, end) in [(10, "2026-03-01T00:10:00Z"), (20, "2026-03-01T00:20:00Z"), (30, "2026-03-01T00:30:00Z")] {
        give(&app, &staff, &ana, until(amount, end)).await.expect(201);
    }
    spend(&app, &ana, 4).await.expect(201);
    app.advance(2 * TEN_MINUTES + MICRO);
    let at = async |instant: &str| {
        let past = app.get(&format!("{CREDITS}/balance/?at={instant}")).bearer(&ana.access).send().await.expect(200);
        past.data()["credits"].as_i64().unwrap()
    };
    let moments = ["2026-03-01T00:09:59.999999Z", "2026-03-01T00:10:00Z", "2026-03-01T00:19:59.999999Z", "2026-03-01T00:20:00Z"];

    let mut told = Vec::new();
    for instant in moments {
        told.push(at(instant).await);
    }
    let ended = igny8::credits::lots::service::expire_due(app.pool(), app.now()).await.unwrap();
    let again = igny8::credits::lots::service::expire_due(app.pool(), app.now()).await.unwrap();

    assert_eq!(told, [56, 50, 50, 30], "before it was written down");
    for (instant, credits) in moments.into_iter().zip(told) {
        assert_eq!(at(instant).await, credits, "and after, at {instant}");
    }
    assert_eq!((ended, again, credits_of(&app, &ana).await), (1, 0, 30));
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'expiry'").await, 2);
    app.verify().await;
}

#[tokio::test]
async fn spends_on_two_instances_at_a_lots_end_take_what_is_left_and_the_end_is_written_once() {
    let (app, ana, staff) = start().await;
    let other = app.beside();
    give(&app, &staff, &ana, for_ever(100)).await.expect(201);
    give(&app, &staff, &ana, until(100, END)).await.expect(201);
    spend(&app, &ana, 30).await.expect(201);
    app.advance(TEN_MINUTES);

    let spends = stream::iter(0..300).map(|n| {
        let call = if n % 2 == 0 {
            app.post(&format!("{CREDITS}/deduct/"))
        } else {
            request_to(&other, Method::POST, &format!("{CREDITS}/deduct/"))
        };
        let call = call.bearer(&ana.access).json(json!({"operation": "content_generation", "quantity": 1}));
        async move { call.send().await.status.as_u16() }
    });
    let ending = async { igny8::credits::lots::service::expire_due(app.pool(), app.now()).await.unwrap() };
    let (answers, _) = futures::join!(spends.buffer_unordered(40).collect::<Vec<_>>(), ending);

    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(201), count(402)), (100, 200));
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'expiry'").await, 1);
    assert_eq!(credits_of(&app, &ana).await, 0);
    app.verify().await;
}

#[tokio::test]
async fn what_staff_give_is_checked_field_by_field() {
    let (app, ana, staff) = start().await;
    let refused = async |body: Value| {
        let reply = give(&app, &staff, &ana, body).await.expect_code(400, "invalid_input");
        reply.body["errors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };

    assert_eq!(refused(until(5, "2026-03-01T00:00:00Z")).await, "expires_at", "an end that is now");
    assert_eq!(refused(until(-5, END)).await, "expires_at");
    assert_eq!(refused(json!({"amount": -5, "type": "purchase", "reason": "x"})).await, "amount");
    assert_eq!(refused(json!({"amount": 0, "type": "refund", "reason": "x"})).await, "type");
    for minute in 1..100 {
        give(&app, &staff, &ana, until(1, &format!("2026-03-02T{:02}:{:02}:00Z", minute / 60, minute % 60))).await.expect(201);
    }
    give(&app, &staff, &ana, until(1, "2026-03-03T00:00:00Z")).await.expect_code(422, "lot_limit_reached");
    let bought = give(&app, &staff, &ana, json!({"amount": 7, "type": "purchase", "reason": "a pack"})).await.expect(201);
    assert_eq!((bought.data()["type"].as_str(), credits_of(&app, &ana).await), (Some("purchase"), 106));
    app.verify().await;
}

#[tokio::test]
async fn a_deduction_is_given_back_to_its_pools_and_never_more_than_was_taken() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    give(&app, &staff, &ana, for_ever(10)).await.expect(201);
    spend(&app, &ana, 2_004).await.expect(201);
    let path = format!("/api/v1/billing/admin/accounts/{}/transactions", ana.account_id);
    let back = async |seq: i64, body: Value, key: &str| {
        app.post(&format!("{path}/{seq}/refund/")).bearer(&staff.access).header("idempotency-key", key).json(body).send().await
    };
    let pools = async || {
        let balance = app.get(&format!("{CREDITS}/balance/")).bearer(&ana.access).send().await.expect(200);
        (balance.data()["plan_credits"].as_i64().unwrap(), balance.data()["extra_credits"].as_i64().unwrap())
    };

    let part = back(3, json!({"amount": 3, "reason": "half was bad"}), "a").await.expect(201);
    let replay = back(3, json!({"amount": 3, "reason": "half was bad"}), "a").await.expect(201);
    let pools_after_part = pools().await;
    let too_much = back(3, json!({"amount": 2_002, "reason": "x"}), "b").await.expect_code(422, "refund_too_large");
    let rest = back(3, json!({"reason": "all was bad"}), "c").await.expect(201);
    back(3, json!({"reason": "again"}), "d").await.expect_code(422, "refund_too_large");
    back(1, json!({"reason": "a grant"}), "e").await.expect_code(422, "not_refundable");
    back(99, json!({"reason": "nothing"}), "f").await.expect_code(404, "not_found");
    back(3, json!({"amount": 0, "reason": "x"}), "g").await.expect_code(400, "invalid_input");

    assert_eq!((part.data(), part.data()["type"].as_str()), (replay.data(), Some("refund")));
    assert_eq!((part.data()["metadata"]["refund_of"].as_i64(), pools_after_part), (Some(3), (0, 9)));
    assert_eq!((too_much.body["refundable"].as_i64(), rest.data()["amount"].as_i64()), (Some(2_001), Some(2_001)));
    assert_eq!(pools().await, (2_000, 10));
    assert_eq!(app.count("select count(*) from audit_log where action = 'credits.refunded'").await, 2);
    let summary = app.get(&format!("{CREDITS}/usage/summary/")).bearer(&ana.access).send().await.expect(200);
    assert_eq!((summary.data()["credits"].as_i64(), summary.data()["refunded"].as_i64()), (Some(2_004), Some(2_004)));
    app.verify().await;
}

#[tokio::test]
async fn fifty_refunds_at_once_give_back_what_was_taken_and_no_more() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    spend(&app, &ana, 100).await.expect(201);

    let path = format!("/api/v1/billing/admin/accounts/{}/transactions/2/refund/", ana.account_id);
    let refunds = (0..50).map(|_| {
        let call = app.post(&path).bearer(&staff.access).json(json!({"amount": 7, "reason": "sorry"}));
        tokio::spawn(async move { call.send().await.status.as_u16() })
    });
    let answers = futures::future::join_all(refunds.collect::<Vec<_>>()).await;

    let answers = answers.into_iter().map(|answer| answer.unwrap()).collect::<Vec<_>>();
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 14, "{answers:?}");
    assert_eq!(credits_of(&app, &ana).await, 1_998);
    app.verify().await;
}

#[tokio::test]
async fn a_key_that_was_used_on_another_route_is_used() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let deduct = |key: &str| {
        let job = json!({"operation": "clustering", "quantity": 1});
        app.post(&format!("{CREDITS}/deduct/")).bearer(&ana.access).header("idempotency-key", key).json(job).send()
    };
    let upgrade = |key: &str| {
        app.post("/api/v1/account/upgrade/").bearer(&ana.access).header("idempotency-key", key).json(json!({"plan_slug": "starter"})).send()
    };
    let adjust = |key: &str| {
        let path = format!("/api/v1/billing/admin/accounts/{}/credits/", ana.account_id);
        app.post(&path).bearer(&staff.access).header("idempotency-key", key).json(for_ever(1)).send()
    };

    deduct("spent").await.expect(201);
    upgrade("bought").await.expect(201);
    adjust("given").await.expect(201);

    for refused in [upgrade("spent").await, adjust("spent").await, deduct("bought").await, deduct("given").await, adjust("bought").await] {
        refused.expect_code(409, "idempotency_key_reused");
    }
    for replayed in [deduct("spent").await, upgrade("bought").await, adjust("given").await] {
        assert_eq!(replayed.expect(201).header("idempotent-replayed"), "true");
    }
    assert_eq!(credits_of(&app, &ana).await, 1_991);
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_on_two_routes_at_once_has_one_effect() {
    const ROUNDS: usize = 60;
    let (app, ana, staff) = start().await;
    give(&app, &staff, &ana, for_ever(1_000)).await.expect(201);
    let free = json!({"cost": 0, "reason": "a present"});
    app.patch("/api/v1/billing/admin/credit-costs/clustering/").bearer(&staff.access).json(free).send().await.expect(200);
    // As two processes have it: what is spent on one is not known to the other's batches.
    let (_, there) = app.elsewhere().await;
    let post = |app: &App, path: &str, who: &Session, key: &str, body: &Value| {
        tokio::spawn(request_to(app, Method::POST, path).bearer(&who.access).header("idempotency-key", key).json(body.clone()).send())
    };
    let here = app.here();
    let adjust = (format!("/api/v1/billing/admin/accounts/{}/credits/", ana.account_id), &staff, for_ever(1));
    let upgrade = ("/api/v1/account/upgrade/".to_owned(), &ana, json!({"plan_slug": "starter"}));
    let hold_for_free = (format!("{CREDITS}/holds/"), &ana, json!({"operation": "clustering", "quantity": 1}));
    let others = [adjust, upgrade, hold_for_free];
    let job = json!({"operation": "content_generation", "quantity": 100});
    let (deduct, mut refused) = (format!("{CREDITS}/deduct/"), 0);
    // Either is first in turn, and the later a little later each time.
    for round in 0..ROUNDS {
        for (place, (path, who, body)) in others.iter().enumerate() {
            let key = format!("key-{round}-{place}");
            let spend = || post(here, &deduct, &ana, &key, &job);
            let other = || post(&there, path, who, &key, body);
            let later = || async move {
                for _ in 0..8 * round {
                    tokio::task::yield_now().await;
                }
            };
            let (first, second) = if round % 2 == 0 {
                let first = spend();
                later().await;
                (first, other())
            } else {
                let first = other();
                later().await;
                (first, spend())
            };
            let answers = [first.await.unwrap(), second.await.unwrap()];
            let mut told = answers.each_ref().map(|answer| answer.status.as_u16());
            told.sort_unstable();
            assert_eq!(told, [201, 409], "{key} on {path}: {} {}", answers[0].text, answers[1].text);
            refused += 1;
        }
    }
    assert_eq!(refused, others.len() * ROUNDS);
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spend_waits_for_another_route_that_is_keeping_its_key() {
    let (app, ana, staff) = start().await;
    give(&app, &staff, &ana, for_ever(10)).await.expect(201);
    let free = json!({"cost": 0, "reason": "a present"});
    app.patch("/api/v1/billing/admin/credit-costs/clustering/").bearer(&staff.access).json(free).send().await.expect(200);
    let upgrade = json!({"plan_slug": "starter"});
    // The next one changes nothing of the account, which would let spends wait too. Nor does a hold that is free.
    app.post("/api/v1/account/upgrade/").bearer(&ana.access).json(upgrade.clone()).send().await.expect(201);
    let (_, there) = app.elsewhere().await;
    let keyed = |app: &App, key: &str, path: &str, body: &Value| {
        let call = request_to(app, Method::POST, path).bearer(&ana.access).header("idempotency-key", key);
        tokio::spawn(call.json(body.clone()).send())
    };
    let waiting = async || {
        let count = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(count).fetch_one(app.database().pool()).await.unwrap()
    };
    let (deduct, job) = (format!("{CREDITS}/deduct/"), json!({"operation": "content_generation", "quantity": 100}));
    let hold = (format!("{CREDITS}/holds/"), json!({"operation": "clustering", "quantity": 1}));
    for (key, (path, body)) in [("one", ("/api/v1/account/upgrade/".to_owned(), upgrade)), ("two", hold)] {
        // So that the spend is done by the one statement that waits for nobody.
        for _ in 0..2 {
            request_to(&there, Method::POST, &deduct).bearer(&ana.access).json(job.clone()).send().await.expect(201);
        }
        // Somebody is about to keep the key: who keeps it too waits, at the end of all that he does, to learn what becomes of that.
        let mut blocker = app.database().pool().acquire().await.unwrap();
        let keep = "insert into idempotency_keys (account_id, idempotency_key, input_hash, status, answer, created_at) \
                    select account_id, $1, decode(repeat('00', 32), 'hex'), 201, '{}', created_at from users where email = 'ana@example.com'";
        sqlx::raw_sql("begin").execute(&mut *blocker).await.unwrap();
        sqlx::query(keep).bind(key).execute(&mut *blocker).await.unwrap();
        let other = keyed(app.here(), key, &path, &body);
        while waiting().await < 1 {
            tokio::task::yield_now().await;
        }
        let spent = keyed(&there, key, &deduct, &job);
        while waiting().await < 2 && !spent.is_finished() {
            tokio::task::yield_now().await;
        }
        sqlx::raw_sql("rollback").execute(&mut *blocker).await.unwrap();

        other.await.unwrap().expect(201);
        spent.await.unwrap().expect_code(409, "idempotency_key_reused");
    }
    assert_eq!(credits_of(&app, &ana).await, 6);
    app.verify().await;
}
