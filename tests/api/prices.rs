//! Prices that are known before they apply, and what a job would cost.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const COSTS: &str = "/api/v1/billing/credits/costs/";
const CLUSTERING: &str = "/api/v1/billing/admin/credit-costs/clustering/";

async fn set(app: &TestApp, staff: &Session, body: Value) -> Reply {
    app.patch(CLUSTERING).bearer(&staff.access).json(body).send().await
}

/// What one run costs now: as it is listed, as it is quoted, and as it is taken.
async fn costs_now(app: &TestApp, ana: &Session) -> (i64, i64, i64) {
    let one = json!({"operation": "clustering", "quantity": 1});
    let listed = app.get(COSTS).bearer(&ana.access).send().await.expect(200);
    let quoted = app.post("/api/v1/billing/credits/check/").bearer(&ana.access).json(one.clone()).send().await.expect(200);
    let taken = app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(one).send().await.expect(201);
    let (listed, quoted) = (&listed.data()[0]["cost"], &quoted.data()["cost"]);
    (listed.as_i64().unwrap(), quoted.as_i64().unwrap(), -taken.data()["transaction"]["amount"].as_i64().unwrap())
}

#[tokio::test]
async fn a_price_to_come_applies_from_its_very_instant_whoever_looks_and_no_job_is_needed() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let from = "2026-03-01T00:10:00Z";

    let scheduled = set(&app, &staff, json!({"cost": 12, "effective_from": from, "reason": "from then on"})).await.expect(200);
    let now = costs_now(&app, &ana).await;
    app.advance(Duration::from_secs(600) - Duration::from_micros(1));
    let a_moment_before = costs_now(&app, &ana).await;
    app.advance(Duration::from_micros(1));
    let then = costs_now(&app, &ana).await;
    app.advance(Duration::from_secs(60));
    let later = costs_now(&app, &ana).await;

    assert_eq!((now, a_moment_before, then, later), ((10, 10, 10), (10, 10, 10), (12, 12, 12), (12, 12, 12)));
    let next = json!({"cost": 12, "effective_from": from});
    assert_eq!(scheduled.data(), &json!({"operation": "clustering", "unit": "run", "cost": 10, "next": next}));
    assert_eq!(app.get(COSTS).bearer(&ana.access).send().await.data()[0], json!({"operation": "clustering", "unit": "run", "cost": 12}));
    let kept = "select count(*) from credit_transactions where kind = 'deduction' and unit_cost = -amount";
    assert_eq!(app.count(kept).await, 4, "each entry keeps the price that applied");
    app.verify().await;
}

#[tokio::test]
async fn a_price_never_applies_to_the_past_and_one_to_come_takes_the_place_of_another() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let list = async || app.get("/api/v1/billing/admin/credit-costs/").bearer(&staff.access).send().await.expect(200).body;
    let known = list().await["count"].as_i64().unwrap();

    let past = set(&app, &staff, json!({"cost": 9, "effective_from": "2026-02-28T23:59:59.999999Z", "reason": "too late"})).await;
    set(&app, &staff, json!({"cost": 12, "effective_from": "2026-03-02T00:00:00Z", "reason": "tomorrow"})).await.expect(200);
    set(&app, &staff, json!({"cost": 13, "effective_from": "2026-03-01T00:30:00Z", "reason": "no, sooner"})).await.expect(200);
    let at_once = set(&app, &staff, json!({"cost": 11, "reason": "and until then"})).await.expect(200);
    let before = costs_now(&app, &ana).await;
    app.advance(Duration::from_secs(1_800));
    let after = costs_now(&app, &ana).await;

    let past = past.expect_code(400, "invalid_input");
    assert!(past.body["errors"]["effective_from"].is_array());
    assert_eq!((before, after), ((11, 11, 11), (13, 13, 13)));
    assert_eq!((at_once.data()["cost"].as_i64(), at_once.data()["next"]["cost"].as_i64()), (Some(11), Some(13)));
    let changes = list().await;
    assert_eq!(changes["count"].as_i64(), Some(known + 2), "what never came is no history; the audit log has it");
    assert_eq!((changes["results"][0]["cost"].as_i64(), changes["results"][1]["cost"].as_i64()), (Some(13), Some(11)));
    assert_eq!(app.count("select count(*) from audit_log where action = 'credit_cost.changed'").await, 3);
}

#[tokio::test]
async fn a_quote_says_what_each_part_costs_and_how_much_can_be_paid_for_and_writes_nothing() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let ask =
        async |items: Value| app.post("/api/v1/billing/credits/quote/").bearer(&ana.access).json(json!({"items": items})).send().await;
    let item = |operation: &str, quantity: i64| json!({"operation": operation, "quantity": quantity});

    let small = ask(json!([item("clustering", 1), item("content_generation", 950), item("image_generation", 2)])).await.expect(200);
    let large = ask(json!([item("image_generation", 300), item("content_generation", 60_000), item("clustering", 1)])).await.expect(200);
    let entries = app.count("select count(*) from credit_transactions").await;

    assert_eq!(
        small.data()["items"][1],
        json!({"operation": "content_generation", "quantity": 950, "unit_cost": 1, "cost": 10, "affordable": 950, "affordable_alone": 200_000})
    );
    assert_eq!(
        (small.data()["total"].as_i64(), small.data()["sufficient"].as_bool(), small.data()["affordable"].as_i64()),
        (Some(30), Some(true), Some(66))
    );
    let affordable = large.data()["items"].as_array().unwrap().iter().map(|item| item["affordable"].as_i64().unwrap());
    assert_eq!(affordable.collect::<Vec<_>>(), [300, 50_000, 0]);
    assert_eq!(
        (
            large.data()["total"].as_i64(),
            large.data()["available"].as_i64(),
            large.data()["sufficient"].as_bool(),
            large.data()["affordable"].as_i64()
        ),
        (Some(2_110), Some(2_000), Some(false), Some(0))
    );
    assert_eq!(entries, 1);
    let fifty_one = Value::Array(vec![item("clustering", 1); 51]);
    for wrong in [json!([]), fifty_one, json!([item("mining", 1)]), json!([item("clustering", 0)]), json!("x"), Value::Null] {
        let refused = ask(wrong).await.expect_code(400, "invalid_input");
        assert!(refused.body["errors"]["items"].is_array(), "{}", refused.text);
    }
    ask(Value::Array(vec![item("clustering", 1); 50])).await.expect(200);
}
