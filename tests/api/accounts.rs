//! The life of an account: requirements B5, E, H.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Session, TestApp};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const MICRO: Duration = Duration::from_micros(1);

async fn status(app: &TestApp, session: &Session) -> (String, String) {
    let me = app.get("/api/v1/auth/me/").bearer(&session.access).send().await.expect(200);
    let account = &me.data()["user"]["account"];
    (account["status"].as_str().unwrap().to_owned(), account["subscription"]["status"].as_str().unwrap().to_owned())
}

async fn deduct(app: &TestApp, session: &Session) -> u16 {
    let body = json!({"operation": "clustering", "quantity": 1});
    app.post("/api/v1/billing/credits/deduct/").bearer(&session.access).json(body).send().await.status.as_u16()
}

async fn recorded(app: &TestApp, session: &Session) -> String {
    sqlx::query_scalar("select status from accounts where account_id = $1").bind(session.account_id).fetch_one(app.pool()).await.unwrap()
}

/// An account that paid for starter at the start.
async fn paid(app: &TestApp) -> (Session, Session) {
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let body = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana", "plan_slug": "starter"});
    app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(body).send().await.expect(200);
    (ana, staff)
}

#[tokio::test]
async fn b5_a_trial_ends_to_the_microsecond_before_any_scheduler_ran() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    app.clock.advance(DAY * 14 - MICRO);
    let ana = app.log_in(&ana.email).await;
    let before = deduct(&app, &ana).await;
    app.clock.advance(MICRO);
    let after = deduct(&app, &ana).await;

    assert_eq!((before, after), (201, 403));
    assert_eq!(status(&app, &ana).await.0, "suspended");
    assert_eq!(recorded(&app, &ana).await, "trial", "nobody has recorded it yet");
    let changed = igny8::accounts::life::end_periods(app.pool(), igny8::period::days(3), app.now()).await.unwrap();
    let again = igny8::accounts::life::end_periods(app.pool(), igny8::period::days(3), app.now()).await.unwrap();
    assert_eq!((changed, again, recorded(&app, &ana).await.as_str()), (1, 0, "suspended"));
    app.verify().await;
}

#[tokio::test]
async fn b5_a_paid_period_has_a_grace_and_then_ends() {
    let app = TestApp::start().await;
    let (ana, _) = paid(&app).await;

    app.clock.advance(DAY * 30);
    let ana = app.log_in(&ana.email).await;
    assert_eq!(status(&app, &ana).await, ("active".to_owned(), "past_due".to_owned()));
    assert_eq!(deduct(&app, &ana).await, 201);
    app.clock.advance(DAY * 3 - MICRO);
    let ana = app.log_in(&ana.email).await;
    assert_eq!(deduct(&app, &ana).await, 201);
    app.clock.advance(MICRO);

    assert_eq!(deduct(&app, &ana).await, 403);
    assert_eq!(status(&app, &ana).await, ("suspended".to_owned(), "past_due".to_owned()));
}

#[tokio::test]
async fn b5_the_scheduler_records_past_due_and_then_suspension_once_each() {
    let app = TestApp::start().await;
    let (ana, _) = paid(&app).await;
    let run = || igny8::accounts::life::end_periods(app.pool(), igny8::period::days(3), app.now());

    app.clock.advance(DAY * 30);
    let (first, second) = (run().await.unwrap(), run().await.unwrap());
    app.clock.advance(DAY * 3);
    let (third, fourth) = (run().await.unwrap(), run().await.unwrap());

    assert_eq!((first, second, third, fourth), (1, 0, 1, 0));
    assert_eq!(recorded(&app, &ana).await, "suspended");
    let moves = sqlx::query_scalar::<_, i64>("select count(*) from audit_log where action = 'account.status_changed' and actor = 'system'")
        .fetch_one(app.pool())
        .await
        .unwrap();
    assert_eq!(moves, 1);
    app.verify().await;
}

#[tokio::test]
async fn b5_cancel_at_period_end_keeps_what_is_paid_and_can_be_taken_back() {
    let app = TestApp::start().await;
    let (ana, _) = paid(&app).await;
    let cancel = || app.post("/api/v1/account/cancel/").bearer(&ana.access).json(json!({"at_period_end": true})).send();

    cancel().await.expect(200);
    app.post("/api/v1/account/resume/").bearer(&ana.access).json(json!({})).send().await.expect(200);
    app.post("/api/v1/account/resume/").bearer(&ana.access).json(json!({})).send().await.expect(409);
    cancel().await.expect(200);
    assert_eq!(deduct(&app, &ana).await, 201);
    app.clock.advance(DAY * 30);
    let ana = app.log_in(&ana.email).await;

    assert_eq!(status(&app, &ana).await, ("cancelled".to_owned(), "canceled".to_owned()));
    assert_eq!(deduct(&app, &ana).await, 403);
    app.verify().await;
}

#[tokio::test]
async fn a_cancellation_at_once_ends_the_period_at_once() {
    let app = TestApp::start().await;
    let (ana, _) = paid(&app).await;
    app.clock.advance(DAY);
    let ana = app.log_in(&ana.email).await;

    let cancelled = app.post("/api/v1/account/cancel/").bearer(&ana.access).json(json!({})).send().await.expect(200);
    let again = app.post("/api/v1/account/cancel/").bearer(&ana.access).json(json!({})).send().await.expect(409);

    assert_eq!((cancelled.data()["status"].as_str(), again.body["code"].as_str()), (Some("cancelled"), Some("illegal_move")));
    let periods = app.get("/api/v1/account/subscription/").bearer(&ana.access).send().await.expect(200);
    let last = &periods.data()["periods"][0];
    assert_eq!((last["ends_at"].as_str(), last["planned_ends_at"].as_str()), (Some("2026-03-02T00:00:00Z"), Some("2026-03-31T00:00:00Z")));
    app.verify().await;
}

#[tokio::test]
async fn e_a_suspended_customer_can_see_and_pay_and_nothing_else() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let path = format!("/api/v1/billing/admin/accounts/{}/suspend/", ana.account_id);
    app.post(&path).bearer(&staff.access).json(json!({"reason": "chargeback"})).send().await.expect(200);
    let get = |path: &'static str| app.get(path).bearer(&ana.access).send();

    for path in [
        "/api/v1/auth/me/",
        "/api/v1/account/",
        "/api/v1/account/subscription/",
        "/api/v1/billing/invoices/",
        "/api/v1/billing/payment-methods/available/",
        "/api/v1/billing/credits/balance/",
    ] {
        get(path).await.expect(200);
    }
    app.post("/api/v1/account/upgrade/").bearer(&ana.access).json(json!({"plan_slug": "starter"})).send().await.expect(201);
    let refused = app
        .post("/api/v1/billing/credits/deduct/")
        .bearer(&ana.access)
        .json(json!({"operation": "clustering", "quantity": 1}))
        .send()
        .await
        .expect(403);
    app.request(Method::PATCH, "/api/v1/account/").bearer(&ana.access).json(json!({"name": "X"})).send().await.expect(403);

    assert_eq!(refused.body["code"], "account_suspended");
    let paid = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana"});
    app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(paid).send().await.expect(200);
    assert_eq!(deduct(&app, &ana).await, 201, "payment brings a suspended account back");
}

#[tokio::test]
async fn e_without_a_usable_plan_the_answer_is_402() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    sqlx::query("update plans set is_active = false where slug = 'free-trial'").execute(app.pool()).await.unwrap();
    let inactive = app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(json!({})).send().await.expect(402);
    sqlx::query("update accounts set plan_id = null where account_id = $1").bind(ana.account_id).execute(app.pool()).await.unwrap();
    let none = app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(json!({})).send().await.expect(402);
    sqlx::query("update users set account_id = null where user_id = $1").bind(ana.user_id).execute(app.pool()).await.unwrap();

    assert_eq!((inactive.body["code"].as_str(), none.body["code"].as_str()), (Some("plan_inactive"), Some("no_plan")));
    let stale = app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(json!({})).send().await.expect(401);
    assert_eq!(stale.body["code"], "token_revoked", "a token issued for an account that the user has left");
}

#[tokio::test]
async fn system_accounts_can_not_be_suspended_cancelled_or_deleted_and_never_expire() {
    let app = TestApp::start().await;
    let staff = app.operator().await;
    let path = format!("/api/v1/billing/admin/accounts/{}/suspend/", staff.account_id);

    let suspended = app.post(&path).bearer(&staff.access).json(json!({"reason": "x"})).send().await.expect(409);
    app.post("/api/v1/account/cancel/").bearer(&staff.access).json(json!({})).send().await.expect(409);
    app.delete("/api/v1/account/").bearer(&staff.access).send().await.expect(409);
    let upgrade = app.post("/api/v1/account/upgrade/").bearer(&staff.access).json(json!({"plan_slug": "starter"})).send().await;
    upgrade.expect_code(409, "system_account");
    app.clock.advance(DAY * 4_000);
    let staff = app.log_in(&staff.email).await;

    assert_eq!(suspended.body["code"], "system_account");
    assert_eq!(status(&app, &staff).await.0, "active");
}

#[tokio::test]
async fn a_reactivated_account_works_again_unless_its_period_is_over() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let act = |session: &Session, word: &str| {
        let path = format!("/api/v1/billing/admin/accounts/{}/{word}/", ana.account_id);
        let token = session.access.clone();
        let app = &app;
        async move { app.post(&path).bearer(&token).json(json!({"reason": "checked"})).send().await }
    };

    act(&staff, "reactivate").await.expect(409);
    act(&staff, "suspend").await.expect(200);
    act(&staff, "reactivate").await.expect(200);
    assert_eq!(deduct(&app, &ana).await, 201);
    app.clock.advance(DAY * 40);
    let staff = app.log_in(&staff.email).await;
    let late = act(&staff, "reactivate").await.expect(409);

    assert_eq!(late.body["code"], "period_over");
}

#[tokio::test]
async fn an_owner_edits_name_and_billing_details() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let body = json!({"name": "Ana & Sons", "billing_email": "Bills@Example.com", "billing_address": {"city": "Porto"}});
    app.request(Method::PATCH, "/api/v1/account/").bearer(&ana.access).json(body).send().await.expect(200);
    let account = app.get("/api/v1/account/").bearer(&ana.access).send().await.expect(200);

    assert_eq!(
        (account.data()["name"].as_str(), account.data()["billing_email"].as_str()),
        (Some("Ana & Sons"), Some("bills@example.com"))
    );
    assert_eq!(account.data()["billing_address"], json!({"city": "Porto"}));
    assert_eq!(account.data()["limits"], json!({"sites": {"used": 0, "limit": 1}, "users": {"used": 1, "limit": 1}}));
}

#[tokio::test]
async fn h_a_deleted_account_lets_nobody_in_and_can_be_restored_for_its_retention_time() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let deleted = app.delete("/api/v1/account/").bearer(&ana.access).send().await.expect(200);
    let refused = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(401);
    app.clock.advance(DAY * 13);
    let wrong = restore(&app, &ana, "wrong-password-1").await;
    let restored = restore(&app, &ana, crate::support::PASSWORD).await;

    assert_eq!(deleted.data()["restore_until"], "2026-03-15T00:00:00Z");
    assert_eq!((refused.body["code"].as_str(), wrong.0, restored.0), (Some("token_revoked"), 401, 200));
    let ana = app.log_in(&ana.email).await;
    assert_eq!(status(&app, &ana).await.0, "trial");
    app.verify().await;
}

#[tokio::test]
async fn h_after_its_retention_time_an_account_is_purged_and_its_money_is_kept() {
    let app = TestApp::start().await;
    let (ana, _) = paid(&app).await;
    app.delete("/api/v1/account/").bearer(&ana.access).send().await.expect(200);
    app.clock.advance(DAY * 14);

    let late = restore(&app, &ana, crate::support::PASSWORD).await;
    let purged = igny8::accounts::life::purge_deleted(app.pool(), igny8::sites::service::go_with_account, app.now()).await.unwrap();
    let again = igny8::accounts::life::purge_deleted(app.pool(), igny8::sites::service::go_with_account, app.now()).await.unwrap();

    assert_eq!((late.0, purged, again), (409, 1, 0));
    let name = sqlx::query_scalar::<_, String>("select name from accounts where account_id = $1")
        .bind(ana.account_id)
        .fetch_one(app.pool())
        .await
        .unwrap();
    let emails = sqlx::query_scalar::<_, i64>("select count(*) from users where email like '%ana%'").fetch_one(app.pool()).await.unwrap();
    let kept = sqlx::query_scalar::<_, i64>("select (select count(*) from payments where account_id = $1) + (select count(*) from invoices where account_id = $1) + (select count(*) from credit_transactions where account_id = $1)").bind(ana.account_id).fetch_one(app.pool()).await.unwrap();
    assert_eq!((name.as_str(), emails, kept), ("Deleted account", 0, 5));
    app.register("ana@example.com").await;
    app.verify().await;
}

async fn restore(app: &TestApp, session: &Session, password: &str) -> (u16, Value) {
    let body = json!({"email": session.email, "password": password});
    let reply = app.post("/api/v1/account/restore/").json(body).send().await;
    (reply.status.as_u16(), reply.body)
}

#[tokio::test]
async fn i6_a_cancellation_cuts_what_was_paid_ahead_and_the_lapse_begins_where_time_really_ended() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let pay = |reference: &'static str| {
        let body = json!({"account_id": ana.account_id, "external_payment_id": reference, "amount": "89.00", "payer_name": "Ana", "plan_slug": "starter"});
        app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(body).send()
    };
    let cancel = || app.post("/api/v1/account/cancel/").bearer(&ana.access).json(json!({})).send();

    // Two periods are paid, and then all is cancelled in the first.
    pay("BT-1").await.expect(200);
    pay("BT-2").await.expect(200);
    app.advance(Duration::from_secs(600));
    cancel().await.expect(200);
    app.verify().await;

    // Back by payment, cancelled again, back by hand: each time after a lapse, within what would have been the old period.
    app.advance(Duration::from_secs(600));
    pay("BT-3").await.expect(200);
    app.verify().await;
    app.advance(Duration::from_secs(600));
    cancel().await.expect(200);
    app.advance(Duration::from_secs(600));
    let by_hand = json!({"plan_slug": "starter", "reason": "a test"});
    let path = format!("/api/v1/billing/admin/accounts/{}/plan/", ana.account_id);
    app.post(&path).bearer(&staff.access).json(by_hand).send().await.expect(200);
    app.verify().await;
    let lapses = app.count("select count(*) from subscription_periods where lapsed_from is not null").await;
    assert_eq!(lapses, 2);
}
