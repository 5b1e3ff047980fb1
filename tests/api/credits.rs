//! The ledger over HTTP: laws of credits, idempotency, and many requests at once.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Session, TestApp, request_to};
use axum::http::{Method, StatusCode};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const BALANCE: &str = "/api/v1/billing/credits/balance/";
const TRANSACTIONS: &str = "/api/v1/billing/credits/transactions/";

/// A job that costs exactly so many credits: a hundred words each.
fn words(credits: i64) -> Value {
    json!({"operation": "content_generation", "quantity": credits * 100})
}

async fn unthrottled() -> TestApp {
    TestApp::with(|config| config.throttle_disabled = true).await
}

/// A fresh account that has exactly so many of its 2,000 trial credits left.
async fn account_with(app: &TestApp, email: &str, credits: i64) -> Session {
    let ana = app.register(email).await;
    app.post(DEDUCT).bearer(&ana.access).json(words(2_000 - credits)).send().await.expect(201);
    ana
}

async fn credits_of(app: &TestApp, session: &Session) -> i64 {
    app.get(BALANCE).bearer(&session.access).send().await.expect(200).data()["credits"].as_i64().unwrap()
}

#[tokio::test]
async fn a_deduction_is_checked_written_and_explained() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let check = app
        .post("/api/v1/billing/credits/check/")
        .bearer(&ana.access)
        .json(json!({"operation": "image_generation", "quantity": 3}))
        .send()
        .await
        .expect(200);
    let deducted = app
        .post(DEDUCT)
        .bearer(&ana.access)
        .json(json!({"operation": "image_generation", "quantity": 3, "description": "Header images", "metadata": {"post": 7}, "reference": "job-1"}))
        .send()
        .await
        .expect(201);

    assert_eq!(check.data(), &json!({"cost": 15, "available": 2000, "sufficient": true}));
    assert_eq!(deducted.data()["balance"], 1985);
    let transaction = &deducted.data()["transaction"];
    assert_eq!(
        (transaction["id"].as_i64(), transaction["type"].as_str(), transaction["amount"].as_i64(), transaction["balance_after"].as_i64()),
        (Some(2), Some("deduction"), Some(-15), Some(1985))
    );
    assert_eq!(
        (transaction["metadata"]["post"].as_i64(), transaction["description"].as_str(), transaction["reference"].as_str()),
        (Some(7), Some("Header images"), Some("job-1"))
    );
    let balance = app.get(BALANCE).bearer(&ana.access).send().await.expect(200);
    assert_eq!(balance.data()["available"], 1985);
    assert_eq!(
        (balance.data()["plan_credits"].as_i64(), balance.data()["extra_credits"].as_i64(), balance.data()["held"].as_i64()),
        (Some(1985), Some(0), Some(0))
    );
    assert_eq!(balance.data()["resets_at"], "2026-03-15T00:00:00Z");
    app.verify().await;
}

#[tokio::test]
async fn too_few_credits_are_told_with_what_is_needed_and_there() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let refused = app.post(DEDUCT).bearer(&ana.access).json(words(2_001)).send().await.expect(402);

    assert_eq!(
        (refused.body["code"].as_str(), refused.body["required"].as_i64(), refused.body["available"].as_i64()),
        (Some("insufficient_credits"), Some(2001), Some(2000))
    );
    assert_eq!(credits_of(&app, &ana).await, 2_000);
}

#[tokio::test]
async fn a_bad_deduction_names_every_failing_field() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let refused =
        app.post(DEDUCT).bearer(&ana.access).json(json!({"operation": "mining", "quantity": 0, "metadata": [1]})).send().await.expect(400);

    let mut fields = refused.body["errors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    fields.sort();
    assert_eq!(fields, ["metadata", "operation", "quantity"]);
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_and_no_second_effect() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let send = |quantity: i64| {
        app.post(DEDUCT)
            .bearer(&ana.access)
            .header("Idempotency-Key", "key-1")
            .json(json!({"operation": "idea_generation", "quantity": quantity}))
            .send()
    };

    let first = send(5).await.expect(201);
    let again = send(5).await.expect(201);
    let other = send(6).await.expect(409);

    assert_eq!(first.data(), again.data());
    assert_eq!((first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"].to_str().unwrap()), (None, "true"));
    assert_eq!(other.body["code"], "idempotency_key_reused");
    assert_eq!(credits_of(&app, &ana).await, 1_990);
    app.verify().await;
}

#[tokio::test]
async fn ten_thousand_debits_on_a_thousand_credits_succeed_exactly_a_thousand_times() {
    let app = unthrottled().await;
    let ana = account_with(&app, "ana@example.com", 1_000).await;

    let answers = stream::iter(0..10_000)
        .map(|_| async {
            app.post(DEDUCT).bearer(&ana.access).json(json!({"operation": "content_generation", "quantity": 1})).send().await.status
        })
        .buffer_unordered(200)
        .collect::<Vec<StatusCode>>()
        .await;

    let count = |status: u16| answers.iter().filter(|answer| answer.as_u16() == status).count();
    assert_eq!((count(201), count(402), answers.len()), (1_000, 9_000, 10_000));
    assert_eq!(credits_of(&app, &ana).await, 0);
    app.verify().await;
}

#[tokio::test]
async fn a_hundred_keys_sent_twenty_times_each_at_once_have_a_hundred_effects() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;

    let replayed = stream::iter(0..2_000)
        .map(|n| {
            let (app, ana) = (&app, &ana);
            async move {
                let key = format!("key-{}", n % 100);
                let reply = app.post(DEDUCT).bearer(&ana.access).header("Idempotency-Key", &key).json(words(1)).send().await.expect(201);
                reply.headers.contains_key("idempotent-replayed")
            }
        })
        .buffer_unordered(100)
        .filter(|replayed| std::future::ready(*replayed))
        .count()
        .await;

    assert_eq!(replayed, 1_900);
    assert_eq!(credits_of(&app, &ana).await, 1_900);
    app.verify().await;
}

#[tokio::test]
async fn the_ledger_is_paged_by_cursor_forth_and_back() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;
    for _ in 0..6 {
        app.post(DEDUCT).bearer(&ana.access).json(words(1)).send().await.expect(201);
    }
    let ids = |body: &Value| body["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>();
    let follow = |link: &Value| link.as_str().unwrap().split_once("/api/v1/").map(|(_, rest)| format!("/api/v1/{rest}")).unwrap();

    let first = app.get(&format!("{TRANSACTIONS}?page_size=3")).bearer(&ana.access).send().await.expect(200);
    let second = app.get(&follow(&first.body["next"])).bearer(&ana.access).send().await.expect(200);
    let third = app.get(&follow(&second.body["next"])).bearer(&ana.access).send().await.expect(200);
    let back = app.get(&follow(&second.body["previous"])).bearer(&ana.access).send().await.expect(200);

    assert_eq!(
        (ids(&first.body), ids(&second.body), ids(&third.body), ids(&back.body)),
        (vec![7, 6, 5], vec![4, 3, 2], vec![1], vec![7, 6, 5])
    );
    assert!(first.body["previous"].is_null() && third.body["next"].is_null() && first.body.get("count").is_none());
    let only = app.get(&format!("{TRANSACTIONS}?type=subscription&count=true")).bearer(&ana.access).send().await.expect(200);
    assert_eq!((ids(&only.body), only.body["count"].as_i64()), (vec![1], Some(1)));
    let forged = app.get(&format!("{TRANSACTIONS}?cursor=xyz&page_size=0&type=gift")).bearer(&ana.access).send().await.expect(400);
    assert!(forged.body["errors"].is_object());
}

#[tokio::test]
async fn prices_are_edited_by_developers_only_and_apply_from_then_on() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let path = "/api/v1/billing/admin/credit-costs/clustering/";
    let price = json!({"cost": 12, "reason": "models got dearer"});

    app.request(Method::PATCH, path).bearer(&ana.access).json(price.clone()).send().await.expect(403);
    app.request(Method::PATCH, path).bearer(&staff.access).json(price).send().await.expect(200);

    let costs = app.get("/api/v1/billing/credits/costs/").bearer(&ana.access).send().await.expect(200);
    assert_eq!(costs.data()[0], json!({"operation": "clustering", "unit": "run", "cost": 12}));
    let deducted = app.post(DEDUCT).bearer(&ana.access).json(json!({"operation": "clustering", "quantity": 1})).send().await.expect(201);
    assert_eq!(deducted.data()["transaction"]["amount"], -12);
    app.request(Method::PATCH, "/api/v1/billing/admin/credit-costs/mining/")
        .bearer(&staff.access)
        .json(json!({"cost": 1, "reason": "x"}))
        .send()
        .await
        .expect(404);
}

#[tokio::test]
async fn the_database_refuses_to_change_or_delete_a_ledger_row() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;

    for statement in [
        "update credit_transactions set description = 'x'",
        "delete from credit_transactions",
        "truncate credit_transactions",
        "update audit_log set reason = 'x'",
        "delete from audit_log",
    ] {
        let refused = sqlx::query(statement).execute(app.pool()).await;
        assert!(refused.is_err(), "{statement}");
    }
    app.verify().await;
}

#[tokio::test]
async fn two_instances_spend_from_one_account_while_its_price_changes_and_lose_nothing() {
    let app = unthrottled().await;
    let other = app.beside();
    let ana = account_with(&app, "ana@example.com", 1_000).await;
    let staff = app.operator().await;

    let spends = stream::iter(0..1_500).map(|n| {
        let call = if n % 2 == 0 { app.post(DEDUCT) } else { request_to(&other, Method::POST, DEDUCT) };
        let call = call.bearer(&ana.access).json(words(1));
        async move {
            let reply = call.send().await;
            (reply.status.as_u16(), reply.data()["transaction"]["amount"].as_i64())
        }
    });
    let prices = stream::iter([2, 1, 3, 1, 2]).then(|cost| {
        let body = json!({"cost": cost, "reason": "a busy market"});
        app.request(Method::PATCH, "/api/v1/billing/admin/credit-costs/content_generation/").bearer(&staff.access).json(body).send()
    });
    let (answers, changes) = futures::join!(spends.buffer_unordered(60).collect::<Vec<_>>(), prices.collect::<Vec<_>>());

    assert!(changes.iter().all(|reply| reply.status == StatusCode::OK));
    assert!(answers.iter().all(|(status, _)| [201, 402].contains(status)), "{answers:?}");
    let spent: i64 = answers.iter().filter_map(|(_, amount)| *amount).sum();
    assert_eq!(credits_of(&app, &ana).await, 1_000 + spent, "what was answered is what was taken");
    app.verify().await;
}

#[tokio::test]
async fn a_lost_connection_costs_nothing_and_spends_nothing_twice() {
    let app = unthrottled().await;
    let ana = app.register("ana@example.com").await;

    let spends = stream::iter(0..1_000).map(|_| async { app.post(DEDUCT).bearer(&ana.access).json(words(1)).send().await.status.as_u16() });
    let cutting = async {
        let mut cut_off = 0;
        // Whoever is at work on a batch, or was last, loses its connection. Bounded, should nobody ever be.
        for _ in 0..5_000 {
            let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid() and query like '%with ' || 'entry as%'";
            cut_off += sqlx::query_scalar::<_, i64>(cut).fetch_one(app.pool()).await.unwrap();
            if cut_off >= 10 {
                break;
            }
        }
        cut_off
    };
    let (answers, cut_off) = futures::join!(spends.buffer_unordered(20).collect::<Vec<_>>(), cutting);

    assert!(cut_off >= 10, "only {cut_off} were cut off");
    let done = i64::try_from(answers.iter().filter(|status| **status == 201).count()).unwrap();
    assert!(answers.iter().all(|status| [201, 503].contains(status)), "{answers:?}");
    assert_eq!(credits_of(&app, &ana).await, 2_000 - done, "answered with 201 exactly as often as taken");
    app.verify().await;
}

#[tokio::test]
async fn who_may_spend_is_the_same_in_the_batch_and_at_the_gate() {
    use igny8::{
        accounts::{
            model::AccountStatus,
            rules::{Tenancy, standing},
        },
        clock::Timestamp,
        credits::batch::store::list_admitted,
        ids::{AccountId, SubscriptionId},
        period::days,
        subscriptions::model::{Subscription, SubscriptionStatus},
    };
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let (now, grace, micro) = (app.now(), days(3), chrono::TimeDelta::microseconds(1));
    let ends: [Timestamp; 6] = [now + days(1), now + micro, now, now - grace + micro, now - grace, now - days(9)];

    for status in AccountStatus::ALL {
        for subscribed in SubscriptionStatus::ALL {
            for (ends_at, cancels) in ends.iter().flat_map(|ends_at| [(*ends_at, false), (*ends_at, true)]) {
                sqlx::query("update accounts set status = $2 where account_id = $1")
                    .bind(ana.account_id)
                    .bind(status.as_str())
                    .execute(app.pool())
                    .await
                    .unwrap();
                sqlx::query("update subscriptions set status = $2, current_period_start = $3, current_period_end = $4, cancel_at_period_end = $5 where account_id = $1")
                    .bind(ana.account_id).bind(subscribed.as_str()).bind(ends_at - days(30)).bind(ends_at).bind(cancels).execute(app.pool()).await.unwrap();
                let mut connection = app.database().pool().acquire().await.unwrap();

                let admitted = list_admitted(&mut connection, &[ana.account_id], grace, now).await.unwrap();

                let subscription = Subscription {
                    id: SubscriptionId(1),
                    status: *subscribed,
                    payment_method: None,
                    external_payment_id: None,
                    current_period_start: ends_at - days(30),
                    current_period_end: ends_at,
                    cancel_at_period_end: cancels,
                };
                let stands = standing(*status, Tenancy::Customer, Some(&subscription), grace, now);
                let is_running = !matches!(stands.account, AccountStatus::Suspended | AccountStatus::Cancelled);
                assert_eq!(admitted.contains(&AccountId(ana.account_id)), is_running, "{status} {subscribed} {ends_at} {cancels}");
            }
        }
    }
}
