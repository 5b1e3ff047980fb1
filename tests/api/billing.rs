//! Upgrades and confirmed transfers: requirements A3, A4, B2, B3, B4, G.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const CONFIRM: &str = "/api/v1/billing/admin/confirm-bank-transfer/";
const DAY: Duration = Duration::from_secs(86_400);

async fn upgrade(app: &TestApp, session: &Session, plan: &str) -> Reply {
    app.post("/api/v1/account/upgrade/")
        .bearer(&session.access)
        .json(json!({"plan_slug": plan, "payment_method": "bank_transfer"}))
        .send()
        .await
}

fn transfer(session: &Session, reference: &str, amount: &str) -> Value {
    json!({"account_id": session.account_id, "external_payment_id": reference, "amount": amount, "payer_name": "Ana Example"})
}

async fn confirm(app: &TestApp, staff: &Session, body: Value) -> Reply {
    app.post(CONFIRM).bearer(&staff.access).json(body).send().await
}

async fn account(app: &TestApp, session: &Session) -> Value {
    app.get("/api/v1/auth/me/").bearer(&session.access).send().await.expect(200).data()["user"]["account"].clone()
}

async fn ledger(app: &TestApp, session: &Session) -> Vec<(String, i64)> {
    let reply = app.get("/api/v1/billing/credits/transactions/?page_size=100").bearer(&session.access).send().await.expect(200);
    let rows = reply.body["results"].as_array().unwrap().iter();
    rows.map(|row| (row["type"].as_str().unwrap().to_owned(), row["amount"].as_i64().unwrap())).collect()
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// A trial account that has paid for starter on the first day.
async fn paid(app: &TestApp, email: &str) -> (Session, Session) {
    let (ana, staff) = (app.register(email).await, app.operator().await);
    upgrade(app, &ana, "starter").await.expect(201);
    confirm(app, &staff, transfer(&ana, "BT-FIRST", "89.00")).await.expect(200);
    (ana, staff)
}

#[tokio::test]
async fn an_upgrade_gives_an_invoice_and_the_account_keeps_working() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let first = upgrade(&app, &ana, "starter").await.expect(201);
    let again = upgrade(&app, &ana, "starter").await.expect(201);

    let invoice = first.data();
    assert_eq!(invoice, again.data(), "the same plan again is the same open invoice");
    assert_eq!(
        (invoice["amount"].as_str(), invoice["status"].as_str(), invoice["plan_slug"].as_str()),
        (Some("89.00"), Some("open"), Some("starter"))
    );
    assert_eq!(invoice["number"], format!("INV-{}-202603-0001", ana.account_id));
    assert!(invoice["reference"].as_str().unwrap().starts_with("RF") && invoice["bank_details"]["iban"].is_string());
    let account = account(&app, &ana).await;
    assert_eq!((account["status"].as_str(), account["plan"]["slug"].as_str()), (Some("pending_payment"), Some("free-trial")));
    app.post("/api/v1/billing/credits/deduct/")
        .bearer(&ana.access)
        .json(json!({"operation": "clustering", "quantity": 1}))
        .send()
        .await
        .expect(201);
}

#[tokio::test]
async fn a3_a4_only_paid_plans_can_be_upgraded_to() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let enterprise = upgrade(&app, &ana, "enterprise").await.expect(403);
    let free = upgrade(&app, &ana, "free").await.expect(422);
    let unknown = upgrade(&app, &ana, "gold").await.expect(400);

    assert_eq!(enterprise.body["code"], "enterprise_requires_manual_assignment");
    assert_eq!(free.body["code"], "plan_not_payable");
    assert!(unknown.body["errors"]["plan_slug"].is_array());
    assert_eq!(account(&app, &ana).await["status"], "trial");
}

#[tokio::test]
async fn another_plan_voids_the_first_invoice_and_numbers_have_no_gap() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    upgrade(&app, &ana, "starter").await.expect(201);
    let growth = upgrade(&app, &ana, "growth").await.expect(201);

    assert_eq!(growth.data()["number"], format!("INV-{}-202603-0002", ana.account_id));
    let list = app.get("/api/v1/billing/invoices/").bearer(&ana.access).send().await.expect(200);
    let statuses = list.body["results"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((list.body["count"].as_i64(), statuses), (Some(2), vec!["open", "void"]));
}

#[tokio::test]
async fn b2_g_a_confirmed_transfer_activates_exactly_thirty_days_and_resets_credits_as_ledger_rows() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    app.post("/api/v1/billing/credits/deduct/")
        .bearer(&ana.access)
        .json(json!({"operation": "clustering", "quantity": 1}))
        .send()
        .await
        .expect(201);
    upgrade(&app, &ana, "starter").await.expect(201);
    app.clock.advance(DAY);
    let (ana, staff) = (app.log_in(&ana.email).await, app.log_in(&staff.email).await);

    let confirmed = confirm(&app, &staff, transfer(&ana, "BT-TEST-001", "89.00")).await.expect(200);

    let data = confirmed.data();
    let (start, end) = (instant(&data["subscription"]["current_period_start"]), instant(&data["subscription"]["current_period_end"]));
    assert_eq!((start, end - start), (app.now(), TimeDelta::seconds(30 * 86_400)));
    assert_eq!(
        (
            data["subscription"]["status"].as_str(),
            data["subscription"]["payment_method"].as_str(),
            data["subscription"]["external_payment_id"].as_str()
        ),
        (Some("active"), Some("bank_transfer"), Some("BT-TEST-001"))
    );
    assert_eq!(
        (data["account"]["status"].as_str(), data["invoice"]["status"].as_str(), data["payment"]["status"].as_str()),
        (Some("active"), Some("paid"), Some("confirmed"))
    );
    assert_eq!(
        ledger(&app, &ana).await,
        [
            ("subscription".to_owned(), 1_000),
            ("expiry".to_owned(), -1_990),
            ("deduction".to_owned(), -10),
            ("subscription".to_owned(), 2_000)
        ]
    );
    assert_eq!(data["changes"]["account.plan"], json!(["free-trial", "starter"]));
    assert_eq!(data["changes"]["account.credits"], json!([1_990, 1_000]));
    let slug = data["account"]["slug"].as_str().unwrap();
    let message = format!(
        "Starter is active for {slug} (account {}) until 2026-04-01; credits 1,990 → 1,000; reference BT-TEST-001.",
        ana.account_id
    );
    assert_eq!(confirmed.body["message"], message);
    assert_eq!(account(&app, &ana).await["credits"], 1_000);
    let audit = sqlx::query_scalar::<_, i64>("select count(*) from audit_log where action = 'transfer.confirmed' and account_id = $1")
        .bind(ana.account_id)
        .fetch_one(app.pool())
        .await
        .unwrap();
    assert_eq!(audit, 1);
    app.verify().await;
}

#[tokio::test]
async fn g_the_same_transfer_again_changes_nothing_and_says_so() {
    let app = TestApp::start().await;
    let (ana, staff) = paid(&app, "ana@example.com").await;
    app.clock.advance(DAY);
    let (ana, staff) = (app.log_in(&ana.email).await, app.log_in(&staff.email).await);

    let again = confirm(&app, &staff, transfer(&ana, "BT-FIRST", "89.00")).await.expect(200);
    let other_amount = confirm(&app, &staff, transfer(&ana, "BT-FIRST", "139.00")).await.expect(409);
    let bruno = app.register("bruno@example.com").await;
    let other_account = confirm(&app, &staff, transfer(&bruno, "BT-FIRST", "89.00")).await.expect(409);

    assert_eq!(again.data()["already_confirmed"], true);
    assert!(again.body["message"].as_str().unwrap().starts_with("Already confirmed, nothing changed now."));
    assert_eq!(
        (other_amount.body["code"].as_str(), other_account.body["code"].as_str()),
        (Some("transfer_conflict"), Some("transfer_conflict"))
    );
    assert_eq!(ledger(&app, &ana).await.len(), 3);
    app.verify().await;
}

#[tokio::test]
async fn g_another_amount_or_currency_is_refused_until_it_is_accepted_with_a_reason() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    upgrade(&app, &ana, "starter").await.expect(201);
    let with = |extra: Value| {
        let mut body = transfer(&ana, "BT-1", "80.00");
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };

    let amount = confirm(&app, &staff, with(json!({}))).await.expect(422);
    let currency = confirm(&app, &staff, with(json!({"amount": 89, "currency": "EUR"}))).await.expect(422);
    let no_reason = confirm(&app, &staff, with(json!({"accept_amount_mismatch": true}))).await.expect(400);
    let unknown = confirm(&app, &staff, with(json!({"acept_amount_mismatch": true}))).await.expect(400);
    assert_eq!(account(&app, &ana).await["status"], "pending_payment");
    confirm(&app, &staff, with(json!({"accept_amount_mismatch": true, "reason": "bank fees"}))).await.expect(200);

    assert_eq!(
        (amount.body["code"].as_str(), amount.body["expected"].as_str(), amount.body["given"].as_str()),
        (Some("amount_mismatch"), Some("89.00"), Some("80.00"))
    );
    assert_eq!(currency.body["code"], "currency_mismatch");
    assert!(no_reason.body["errors"]["reason"].is_array() && unknown.body["errors"]["acept_amount_mismatch"].is_array());
    app.verify().await;
}

#[tokio::test]
async fn g_nobody_of_a_tenant_confirms_his_own_transfer() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    upgrade(&app, &ana, "starter").await.expect(201);

    let owner = confirm(&app, &ana, transfer(&ana, "BT-1", "89.00")).await.expect(403);

    assert_eq!(owner.body["code"], "billing_admin_required");
    assert_eq!(account(&app, &ana).await["status"], "pending_payment");
}

#[tokio::test]
async fn a_dry_run_answers_the_same_and_writes_nothing() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    upgrade(&app, &ana, "starter").await.expect(201);
    let mut body = transfer(&ana, "BT-1", "89.00");
    body["dry_run"] = json!(true);

    let dry = confirm(&app, &staff, body).await.expect(200);

    assert_eq!((dry.data()["dry_run"].as_bool(), dry.data()["account"]["status"].as_str()), (Some(true), Some("active")));
    assert_eq!(account(&app, &ana).await["status"], "pending_payment");
    let real = confirm(&app, &staff, transfer(&ana, "BT-1", "89.00")).await.expect(200);
    assert_eq!(real.data()["changes"], dry.data()["changes"]);
    app.verify().await;
}

#[tokio::test]
async fn an_admin_in_a_terminal_gets_aligned_lines() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    upgrade(&app, &ana, "starter").await.expect(201);

    let text = app
        .post(CONFIRM)
        .bearer(&staff.access)
        .header("Accept", "text/plain")
        .json(transfer(&ana, "BT-1", "89.00"))
        .send()
        .await
        .expect(200)
        .text;

    assert!(text.starts_with("Starter is active for "), "{text}");
    assert!(text.contains("\n  account.status") && text.contains("pending_payment → active"), "{text}");
}

#[tokio::test]
async fn b3_an_early_renewal_burns_no_day() {
    let app = TestApp::start().await;
    let (ana, staff) = paid(&app, "ana@example.com").await;
    let first_end = instant(&account(&app, &ana).await["subscription"]["current_period_end"]);
    app.clock.advance(DAY * 20);

    let ana = app.log_in(&ana.email).await;
    let staff = app.log_in(&staff.email).await;
    let renewed = confirm(&app, &staff, transfer(&ana, "BT-SECOND", "89.00")).await.expect(200);

    let subscription = &renewed.data()["subscription"];
    assert_eq!(
        (instant(&subscription["current_period_start"]), instant(&subscription["current_period_end"])),
        (first_end, first_end + TimeDelta::seconds(30 * 86_400))
    );
    assert_eq!(renewed.data()["invoice"]["purpose"], "renewal");
    assert!(renewed.body["message"].as_str().unwrap().starts_with("Starter is renewed for "));
    let history = app.get("/api/v1/account/subscription/").bearer(&ana.access).send().await.expect(200);
    let kinds = history.data()["periods"].as_array().unwrap().iter().map(|period| period["kind"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(kinds, ["renewal", "activation", "trial"]);
    app.verify().await;
}

#[tokio::test]
async fn b3_a_renewal_within_grace_joins_and_after_suspension_starts_now() {
    let app = TestApp::start().await;
    let (ana, staff) = paid(&app, "ana@example.com").await;
    let first_end = instant(&account(&app, &ana).await["subscription"]["current_period_end"]);

    app.clock.advance(DAY * 32);
    let (ana, staff) = (app.log_in(&ana.email).await, app.log_in(&staff.email).await);
    assert_eq!(account(&app, &ana).await["subscription"]["status"], "past_due");
    let in_grace = confirm(&app, &staff, transfer(&ana, "BT-2", "89.00")).await.expect(200);
    assert_eq!(instant(&in_grace.data()["subscription"]["current_period_start"]), first_end);

    app.clock.advance(DAY * 60);
    let (ana, staff) = (app.log_in(&ana.email).await, app.log_in(&staff.email).await);
    assert_eq!(account(&app, &ana).await["status"], "suspended");
    let after_lapse = confirm(&app, &staff, transfer(&ana, "BT-3", "89.00")).await.expect(200);
    assert_eq!(instant(&after_lapse.data()["subscription"]["current_period_start"]), app.now());
    let history = app.get("/api/v1/account/subscription/").bearer(&ana.access).send().await.expect(200);
    assert_eq!(instant(&history.data()["periods"][0]["lapsed_from"]), first_end + TimeDelta::days(30));
    app.verify().await;
}

#[tokio::test]
async fn what_can_not_be_paid_for_is_told() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let for_plan = |plan: &str| {
        let mut body = transfer(&ana, "BT-1", "89.00");
        body["plan_slug"] = json!(plan);
        body
    };

    let nothing = confirm(&app, &staff, transfer(&ana, "BT-1", "89.00")).await.expect(422);
    let free = confirm(&app, &staff, for_plan("free")).await.expect(422);
    let enterprise = confirm(&app, &staff, for_plan("enterprise")).await.expect(422);
    let nobody = confirm(&app, &staff, json!({"account_id": 999_999, "external_payment_id": "x", "amount": "1", "payer_name": "x"}))
        .await
        .expect(404);
    let by_slug = confirm(&app, &staff, for_plan("starter")).await.expect(200);

    assert_eq!((nothing.body["code"].as_str(), free.body["code"].as_str()), (Some("no_payable_plan"), Some("plan_not_payable")));
    assert_eq!(
        (enterprise.body["code"].as_str(), nobody.body["code"].as_str()),
        (Some("enterprise_requires_manual_assignment"), Some("not_found"))
    );
    assert_eq!(by_slug.data()["account"]["plan"]["slug"], "starter", "a plan can be confirmed without an invoice");
}

#[tokio::test]
async fn fifty_confirmations_at_once_have_one_effect_twenty_times() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let staff = app.operator().await;

    for round in 0..20 {
        let ana = app.register(&format!("ana{round}@example.com")).await;
        upgrade(&app, &ana, "starter").await.expect(201);
        let reference = format!("BT-{round}");
        let replies = join_all((0..50).map(|_| confirm(&app, &staff, transfer(&ana, &reference, "89.00")))).await;

        assert!(
            replies.iter().all(|reply| reply.status == StatusCode::OK),
            "{:?}",
            replies.iter().map(|reply| &reply.body).find(|body| body["success"] == false)
        );
        assert_eq!(replies.iter().filter(|reply| reply.data()["already_confirmed"] == false).count(), 1);
        assert_eq!(ledger(&app, &ana).await.len(), 3);
    }
    app.verify().await;
}

#[tokio::test]
async fn renewals_beside_debits_lose_nothing() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, staff) = paid(&app, "ana@example.com").await;
    let debit = || async {
        app.post("/api/v1/billing/credits/deduct/")
            .bearer(&ana.access)
            .json(json!({"operation": "content_generation", "quantity": 1}))
            .send()
            .await
            .status
    };

    for round in 0..10 {
        let reference = format!("BT-R{round}");
        let renewals = join_all((0..2).map(|_| confirm(&app, &staff, transfer(&ana, &reference, "89.00"))));
        let debits = join_all((0..50).map(|_| debit()));
        let (renewals, debits) = futures::join!(renewals, debits);
        assert!(renewals.iter().all(|reply| reply.status == StatusCode::OK));
        assert!(debits.iter().all(|status| *status == StatusCode::CREATED));
    }

    let grants = ledger_count(&app, &ana, "subscription").await;
    assert_eq!(grants, 12, "trial, activation and one grant per renewal");
    app.verify().await;
}

async fn ledger_count(app: &TestApp, session: &Session, kind: &str) -> i64 {
    let reply =
        app.get(&format!("/api/v1/billing/credits/transactions/?type={kind}&count=true")).bearer(&session.access).send().await.expect(200);
    reply.body["count"].as_i64().unwrap()
}

#[tokio::test]
async fn b4_the_database_refuses_an_overlapping_period_by_hand() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let overlap = sqlx::query(
        "insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, created_at)
         select account_id, 2, plan_id, 'manual', 0, 0, ends_at - interval '1 microsecond', ends_at + interval '1 day', ends_at + interval '1 day', created_at
         from subscription_periods where account_id = $1",
    )
    .bind(ana.account_id)
    .execute(app.pool())
    .await
    .unwrap_err();

    assert_eq!(overlap.as_database_error().unwrap().code().unwrap(), "23P01");
}

#[tokio::test]
async fn a3_enterprise_is_set_by_a_developer_by_hand_with_a_reason() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let path = format!("/api/v1/billing/admin/accounts/{}/plan/", ana.account_id);

    app.post(&path).bearer(&ana.access).json(json!({"plan_slug": "enterprise", "reason": "me"})).send().await.expect(403);
    app.post(&path).bearer(&staff.access).json(json!({"plan_slug": "enterprise"})).send().await.expect(400);
    app.post(&path).bearer(&staff.access).json(json!({"plan_slug": "enterprise", "reason": "contract 12"})).send().await.expect(200);

    let account = account(&app, &ana).await;
    assert_eq!(
        (account["plan"]["slug"].as_str(), account["status"].as_str(), account["credits"].as_i64()),
        (Some("enterprise"), Some("active"), Some(10_000))
    );
    app.verify().await;
}

#[tokio::test]
async fn extra_credits_survive_a_reset_and_are_given_once_per_key() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let path = format!("/api/v1/billing/admin/accounts/{}/credits/", ana.account_id);
    let give =
        || app.post(&path).bearer(&staff.access).header("Idempotency-Key", "gift-1").json(json!({"amount": 500, "reason": "sorry"})).send();

    let first = give().await.expect(201);
    let again = give().await.expect(201);
    upgrade(&app, &ana, "starter").await.expect(201);
    confirm(&app, &staff, transfer(&ana, "BT-1", "89.00")).await.expect(200);

    assert_eq!(first.data(), again.data());
    let balance = app.get("/api/v1/billing/credits/balance/").bearer(&ana.access).send().await.expect(200);
    assert_eq!((balance.data()["plan_credits"].as_i64(), balance.data()["extra_credits"].as_i64()), (Some(1_000), Some(500)));
    app.verify().await;
}

#[tokio::test]
async fn a_plan_set_by_hand_is_set_once_per_key() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let path = format!("/api/v1/billing/admin/accounts/{}/plan/", ana.account_id);
    let set = |plan: &str| {
        let body = json!({"plan_slug": plan, "reason": "contract 12"});
        app.post(&path).bearer(&staff.access).header("Idempotency-Key", "plan-1").json(body).send()
    };

    let first = set("enterprise").await.expect(200);
    let again = set("enterprise").await.expect(200);
    let other = set("scale").await.expect(409);

    assert_eq!((first.data(), &first.body["message"]), (again.data(), &again.body["message"]));
    assert_eq!((first.header("idempotent-replayed").as_str(), again.header("idempotent-replayed").as_str()), ("", "true"));
    assert_eq!(other.body["code"], "idempotency_key_reused");
    assert_eq!(ledger(&app, &ana).await.len(), 3, "one expiry and one grant after the trial's");
    app.verify().await;
}
