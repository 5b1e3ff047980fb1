//! Limits of an account's own, which a developer gives without a restart (contract, section 7; issue 6).
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const ME: &str = "/api/v1/auth/me/";
const DEDUCT: &str = "/api/v1/billing/credits/deduct/";

async fn change(app: &TestApp, staff: &Session, account: i64, body: Value) -> Reply {
    app.patch(&format!("/api/v1/billing/admin/accounts/{account}/throttle/")).bearer(&staff.access).json(body).send().await
}

async fn limit(app: &TestApp, session: &Session) -> String {
    app.get(ME).bearer(&session.access).send().await.expect(200).header("x-throttle-limit").to_owned()
}

#[tokio::test]
async fn a_developer_makes_an_account_faster_from_its_next_request_on_and_gives_it_its_plans_limits_again() {
    let app = TestApp::start().await;
    let (ana, ben, staff) = (app.register("ana@example.com").await, app.register("ben@example.com").await, app.operator().await);

    let before = limit(&app, &ana).await;
    let changed = change(&app, &staff, ana.account_id, json!({"factor": 7, "reason": "a migration"})).await.expect(200);
    let faster = limit(&app, &ana).await;
    let beside = limit(&app, &ben).await;
    change(&app, &staff, ana.account_id, json!({"reason": "it is done"})).await.expect(200);
    let again = limit(&app, &ana).await;

    assert_eq!(changed.data(), &json!({"account_id": ana.account_id, "factor": 7, "until": null, "plan_factor": 1}));
    assert_eq!([&*before, &*faster, &*beside, &*again], ["20", "140", "20", "20"]);
    let noted = "select count(*) from audit_log where action = 'account.throttle_changed' and reason in ('a migration', 'it is done')";
    assert_eq!(app.count(noted).await, 2);
    app.verify().await;
}

#[tokio::test]
async fn limits_of_its_own_end_at_their_time_without_anybody_asking() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let until = app.now() + chrono::TimeDelta::minutes(10);
    change(&app, &staff, ana.account_id, json!({"factor": 3, "until": until, "reason": "an import"})).await.expect(200);

    app.advance(Duration::from_secs(600) - Duration::from_micros(1));
    let last = limit(&app, &ana).await;
    app.advance(Duration::from_micros(1));
    let after = limit(&app, &ana).await;

    assert_eq!([&*last, &*after], ["60", "20"]);
}

#[tokio::test]
async fn spends_of_a_session_that_is_known_already_count_against_the_new_limit_too() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let spend = async || {
        let body = json!({"operation": "clustering", "quantity": 1});
        app.post(DEDUCT).bearer(&ana.access).json(body).send().await.expect(201).header("x-throttle-limit").to_owned()
    };
    // The first is let in by the gate, the second on trust.
    let before = [spend().await, spend().await];

    change(&app, &staff, ana.account_id, json!({"factor": 2, "reason": "a rush"})).await.expect(200);
    // The first still counts as it was known, and is asked for again because it is not so any more.
    let after = [spend().await, spend().await, spend().await];

    assert_eq!(before, ["600", "600"]);
    assert_eq!(after[1..], ["1200", "1200"]);
    app.verify().await;
}

#[tokio::test]
async fn what_is_no_limit_is_refused_and_nobody_else_may_change_any() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let yesterday = app.now() - chrono::TimeDelta::days(1);

    for body in [
        json!({"factor": 0, "reason": "r"}),
        json!({"factor": 1_001, "reason": "r"}),
        json!({"factor": 2}),
        json!({"factor": 2, "until": yesterday, "reason": "r"}),
        json!({"until": "2027-01-01T00:00:00Z", "reason": "r"}),
        json!({"factor": 2, "reason": "r", "scope": "auth"}),
    ] {
        change(&app, &staff, ana.account_id, body).await.expect_code(400, "invalid_input");
    }
    change(&app, &staff, 999_999, json!({"factor": 2, "reason": "r"})).await.expect(404);
    change(&app, &ana, ana.account_id, json!({"factor": 2, "reason": "r"})).await.expect_code(403, "developer_required");

    assert_eq!(limit(&app, &ana).await, "20");
}
