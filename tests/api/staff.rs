//! What billing admins look up, try, and let each other approve: issue 5, contract section 5.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{PASSWORD, Reply, Session, TestApp};
use futures::future::join_all;
use igny8::{
    accounts::service::create_developer,
    auth::{
        model::{Email, Password},
        passwords::NewPassword,
    },
    config::Config,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const ADMIN: &str = "/api/v1/billing/admin";
const DAY: Duration = Duration::from_secs(86_400);

/// A customer, and two developers of staff's.
struct Office {
    app: TestApp,
    ana: Session,
    staff: Session,
    other: Session,
}

impl Office {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let app = TestApp::with(|config| {
            config.throttle_disabled = true;
            change(config);
        })
        .await;
        let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
        let (email, password) = (Email::parse("bo@example.com").unwrap(), NewPassword::parse(Password(PASSWORD.into())).unwrap());
        create_developer(app.state.desk(), &email, &password, app.now()).await.unwrap();
        let other = app.log_in("bo@example.com").await;
        Office { app, ana, staff, other }
    }

    /// Where a second admin must approve more than 1,000 credits or 10.00.
    async fn of_two() -> Self {
        Self::with(|config| {
            config.approval_threshold_credits = Some(igny8::money::Credits::new(1_000).unwrap());
            config.approval_threshold_money = Some("10".parse().unwrap());
        })
        .await
    }

    async fn get(&self, path: &str) -> Reply {
        self.app.get(&format!("{ADMIN}/{path}")).bearer(&self.staff.access).send().await
    }

    async fn post_as(&self, who: &Session, path: &str, body: Value) -> Reply {
        self.app.post(&format!("{ADMIN}/{path}")).bearer(&who.access).json(body).send().await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.post_as(&self.staff, path, body).await
    }

    /// Numbers of the accounts that a search gives.
    async fn found(&self, query: &str) -> Vec<i64> {
        let reply = self.get(&format!("accounts/?{query}")).await.expect(200);
        reply.body["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    }

    async fn upgrade(&self) -> Value {
        let call = self.app.post("/api/v1/account/upgrade/").bearer(&self.ana.access);
        call.json(json!({"plan_slug": "starter"})).send().await.expect(201).data().clone()
    }

    fn path(&self, verb: &str) -> String {
        format!("accounts/{}/{verb}/", self.ana.account_id)
    }

    async fn credits(&self) -> i64 {
        let reply = self.get(&format!("accounts/{}/", self.ana.account_id)).await.expect(200);
        reply.data()["credits"].as_i64().unwrap()
    }

    async fn audits(&self, action: &str) -> Vec<Value> {
        self.get(&format!("audit/?action={action}")).await.expect(200).body["results"].as_array().unwrap().clone()
    }

    /// Lets time pass, and signs staff in again.
    async fn after(&mut self, time: Duration) {
        self.app.advance(time);
        (self.staff, self.other) = (self.app.log_in(&self.staff.email).await, self.app.log_in(&self.other.email).await);
    }
}

#[tokio::test]
async fn an_account_is_found_by_whatever_a_letter_names() {
    let office = Office::open().await;
    let invoice = office.upgrade().await;
    office
        .app
        .run(format!("update accounts set name = 'Home & Garden Site', slug = 'home-g8' where account_id = {}", office.ana.account_id))
        .await;
    let eve = office.app.register("eve@example.com").await;
    let confirm = json!({"reference": invoice["reference"], "external_payment_id": "Bank/7-x", "amount": "89.00", "payer_name": "Ana"});
    office.post("confirm-bank-transfer/", confirm).await.expect(200);
    let (number, reference) = (invoice["number"].as_str().unwrap(), invoice["reference"].as_str().unwrap());

    let spaced = reference.to_lowercase().replace("ig", "%20ig");
    let queries = [
        office.ana.account_id.to_string(),
        "home-g".to_owned(),
        "HOME-G8".to_owned(),
        "gard%20home".to_owned(),
        "ANA@exam".to_owned(),
        number.to_lowercase(),
        reference[..8].to_owned(),
        spaced,
        "Bank/7".to_owned(),
    ];
    for query in queries {
        assert_eq!(office.found(&format!("q={query}")).await, [office.ana.account_id], "{query}");
    }
    assert_eq!(office.found("q=nobody").await, Vec::<i64>::new());
    assert_eq!(office.found("q=';--%26|!").await, Vec::<i64>::new());
    assert_eq!(office.found("q=example.com").await, Vec::<i64>::new(), "addresses are found by their beginning");
    assert_eq!(office.found("status=trial").await, [eve.account_id]);
    assert_eq!(office.found("plan=starter&status=active").await, [office.ana.account_id]);
}

#[tokio::test]
async fn a_list_of_accounts_is_walked_by_its_cursor_and_tells_the_state_before_the_scheduler_does() {
    let mut office = Office::open().await;
    for name in ["one", "two", "six"] {
        office.app.register(&format!("{name}@example.com")).await;
    }
    let all = office.found("page_size=100").await;

    let first = office.get("accounts/?page_size=2").await.expect(200);
    let next = first.body["next"].as_str().unwrap().split_once("/accounts/").unwrap().1.to_owned();
    let second = office.get(&format!("accounts/{next}")).await.expect(200);
    let back = second.body["previous"].as_str().unwrap().split_once("/accounts/").unwrap().1.to_owned();
    let ids = |reply: &Reply| reply.body["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!([ids(&first), ids(&second)].concat(), all[..4]);
    assert_eq!(ids(&office.get(&format!("accounts/{back}")).await.expect(200)), all[..2]);

    office.after(15 * DAY).await;
    assert_eq!(office.found("status=suspended").await.len(), 4, "their trials are over");
    assert_eq!(office.app.count("select count(*) from accounts where status = 'suspended'").await, 0, "and nothing has recorded it");
    let page = office.get(&format!("accounts/{}/", office.ana.account_id)).await.expect(200);
    assert_eq!(page.data()["status"], "suspended");
}

#[tokio::test]
async fn an_accounts_page_tells_what_it_owes_has_and_uses() {
    let mut office = Office::open().await;
    let invoice = office.upgrade().await;
    office
        .post(
            "confirm-bank-transfer/",
            json!({"email": "Ana@example.com", "external_payment_id": "BT-1", "amount": "40", "payer_name": "Ana", "partial": true}),
        )
        .await
        .expect(200);
    office.after(9 * DAY).await;

    let page = office.get(&format!("accounts/{}/", office.ana.account_id)).await.expect(200);
    let text =
        office.app.get(&format!("{ADMIN}/accounts/{}/", office.ana.account_id)).bearer(&office.staff.access).header("accept", "text/plain");
    let text = text.send().await.expect(200).text;

    let data = page.data();
    assert_eq!((data["balances"]["money"].as_str(), data["balances"]["plan_credits"].as_i64()), (Some("40.00"), Some(2_000)));
    assert_eq!(
        (&data["overdue"]["outstanding"], &data["overdue"]["days"], &data["is_overdue"]),
        (&json!("49.00"), &json!(2), &json!(true))
    );
    assert_eq!((&data["invoice"]["number"], data["payments"].as_array().unwrap().len()), (&invoice["number"], 1));
    assert_eq!((&data["users"], &data["sites"], &data["owner_email"]), (&json!(1), &json!(0), &json!("ana@example.com")));
    assert!(text.contains("49.00 USD for 2 days") && text.contains("BT-1"), "{text}");
    office.get("accounts/999999999/").await.expect_code(404, "not_found");
}

#[tokio::test]
async fn the_log_is_read_by_account_actor_action_and_time() {
    let mut office = Office::open().await;
    office.post(&office.path("credits"), json!({"amount": 5, "reason": "sorry"})).await.expect(201);
    let before = office.app.now().to_rfc3339().replace("+00:00", "Z");
    office.after(DAY).await;
    office.post(&office.path("suspend"), json!({"reason": "asked to"})).await.expect(200);

    let (actor, account) = (format!("user:{}", office.staff.user_id), office.ana.account_id);
    let rows = |reply: Reply| {
        reply.body["results"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        rows(office.get(&format!("audit/?account={account}&actor={actor}")).await.expect(200)),
        ["account.status_changed", "credits.adjusted"]
    );
    assert_eq!(rows(office.get(&format!("audit/?actor={actor}&to={before}")).await.expect(200)), Vec::<String>::new());
    assert_eq!(
        rows(office.get(&format!("audit/?account={account}&from={before}&action=credits.adjusted")).await.expect(200)),
        ["credits.adjusted"]
    );
    let row = &office.audits("account.status_changed").await[0];
    assert_eq!(
        (&row["reason"], &row["before"]["status"], &row["after"]["status"]),
        (&json!("asked to"), &json!("trial"), &json!("suspended"))
    );
    assert!(row["request_id"].is_string() && row["client_address"].is_string(), "{row}");
    let text =
        office.app.get(&format!("{ADMIN}/audit/?action=credits.adjusted")).bearer(&office.staff.access).header("accept", "text/plain");
    assert!(text.send().await.expect(200).text.contains("credits.adjusted"));
}

#[tokio::test]
async fn a_running_trial_gets_longer_without_a_gap_and_a_paid_plan_does_not() {
    let mut office = Office::open().await;
    office.after(13 * DAY).await;
    let body = json!({"days": 10, "reason": "was ill"});

    let tried = office.post(&office.path("trial-extension"), json!({"days": 10, "reason": "was ill", "dry_run": true})).await.expect(200);
    assert_eq!((tried.data()["ends_at"].as_str(), office.audits("trial.extended").await.len()), (Some("2026-03-25T00:00:00Z"), 0));
    let extended = office.post(&office.path("trial-extension"), body.clone()).await.expect(200);
    assert_eq!(extended.data()["changes"]["subscription.current_period_end"], json!(["2026-03-15T00:00:00Z", "2026-03-25T00:00:00Z"]));
    office.app.verify().await;
    office.after(10 * DAY).await;
    assert_eq!(office.found("status=trial").await, [office.ana.account_id], "the eleventh day after the old end is not over");
    office.post(&office.path("trial-extension"), json!({"days": 90, "reason": "more"})).await.expect(200);
    let too_long =
        office.post(&office.path("trial-extension"), json!({"days": 90, "reason": "more"})).await.expect_code(422, "trial_too_long");
    office.post(&office.path("trial-extension"), json!({"days": 91, "reason": "more"})).await.expect(400);
    assert_eq!((too_long.body["days_left"].as_i64(), office.audits("trial.extended").await.len()), (Some(66), 2));
    office.post(&office.path("plan"), json!({"plan_slug": "growth", "reason": "a gift"})).await.expect(200);
    office.post(&office.path("trial-extension"), body).await.expect_code(409, "not_on_trial");
    office.app.verify().await;
}

#[tokio::test]
async fn every_order_of_staff_can_be_tried_and_tells_what_it_would_change() {
    let office = Office::open().await;
    let invoice = office.upgrade().await;
    let report = json!({"reference": "BT-9", "amount": "89.00", "payer_name": "Ana", "paid_on": "2026-03-01"});
    let reported = office.app.post(&format!("/api/v1/billing/invoices/{}/report-transfer/", invoice["id"])).bearer(&office.ana.access);
    let payment = reported.json(report).send().await.expect(201).data()["id"].clone();
    let deduct = office.app.post("/api/v1/billing/credits/deduct/").bearer(&office.ana.access);
    let spent = deduct.json(json!({"operation": "clustering", "quantity": 1})).send().await.expect(201).data()["transaction"]["id"].clone();
    let audits = office.app.count("select count(*) from audit_log").await;

    let orders = [
        (office.path("credits"), json!({"amount": 7, "reason": "x"}), "account.credits"),
        (format!("accounts/{}/transactions/{spent}/refund/", office.ana.account_id), json!({"reason": "x"}), "account.credits"),
        (office.path("plan"), json!({"plan_slug": "enterprise", "reason": "x"}), "account.plan"),
        (office.path("suspend"), json!({"reason": "x"}), "account.status"),
        (office.path("trial-extension"), json!({"days": 3, "reason": "x"}), "subscription.current_period_end"),
        (format!("invoices/{}/void/", invoice["id"]), json!({"reason": "x"}), "invoice.status"),
        (format!("payments/{payment}/reject/"), json!({"reason": "x"}), "payment.status"),
        (format!("payments/{payment}/approve/"), json!({}), "account.status"),
    ];
    for (path, mut body, changed) in orders {
        body["dry_run"] = json!(true);
        let tried = office.post(&path, body).await;
        assert!([200, 201].contains(&tried.status.as_u16()), "{path}: {}", tried.text);
        assert_eq!(
            (&tried.data()["dry_run"], tried.data()["changes"][changed].as_array().map(Vec::len)),
            (&json!(true), Some(2)),
            "{path}: {}",
            tried.text
        );
        assert!(tried.body["message"].as_str().unwrap().starts_with("Dry run, nothing written: "), "{path}: {}", tried.text);
    }
    assert_eq!(office.app.count("select count(*) from audit_log").await, audits);
    assert_eq!((office.credits().await, office.found("status=pending_payment").await), (1_990, vec![office.ana.account_id]));
    office.app.verify().await;
}

#[tokio::test]
async fn a_payee_that_nobody_knows_is_told_with_the_way_to_find_him() {
    let office = Office::open().await;
    let ask = async |name: &str, value: Value| {
        let mut body =
            json!({"external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana", "dry_run": true, "plan_slug": "starter"});
        body[name] = value;
        office.post("confirm-bank-transfer/", body).await
    };

    for (name, value) in [
        ("account_id", json!(999)),
        ("account_slug", json!("no-such")),
        ("invoice_number", json!("INV-1")),
        ("reference", json!("RF00X")),
        ("email", json!("no@example.com")),
    ] {
        let refused = ask(name, value).await.expect_code(404, "not_found");
        assert!(refused.body["errors"][name][0].as_str().unwrap().contains("accounts/?q="), "{}", refused.text);
    }
    ask("email", json!("ANA@example.com")).await.expect(200);
    let both = json!({"account_id": 1, "email": "ana@example.com", "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana"});
    office.post("confirm-bank-transfer/", both).await.expect(400);
}

#[tokio::test]
async fn credits_above_the_threshold_wait_for_another_admin_and_are_moved_once() {
    let office = Office::of_two().await;
    office.post(&office.path("credits"), json!({"amount": 1_000, "reason": "sorry"})).await.expect(201);
    let waiting = office.post(&office.path("credits"), json!({"amount": 5_000, "reason": "very sorry"})).await.expect(202);
    let approval = waiting.data()["approval"].clone();
    let approve = format!("approvals/{}/approve/", approval["id"]);
    assert_eq!((&approval["status"], office.credits().await), (&json!("pending"), 3_000));
    assert!(approval["summary"].as_str().unwrap().contains("3,000 → 8,000"), "{approval}");
    office.post(&approve, json!({})).await.expect_code(403, "own_approval");
    office.post_as(&office.other, &approve, json!({"dry_run": true})).await.expect(200);
    assert_eq!(office.credits().await, 3_000);

    let office = Arc::new(office);
    let parallel = (0..50).map(|_| {
        let (office, approve) = (Arc::clone(&office), approve.clone());
        tokio::spawn(async move { office.post_as(&office.other, &approve, json!({})).await })
    });
    let replies = join_all(parallel).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();

    let done = replies.iter().filter(|reply| reply.status.as_u16() == 200).count();
    let refused = replies.iter().filter(|reply| reply.body["code"] == "approval_not_pending").count();
    assert_eq!((done, refused, office.credits().await), (1, 49, 8_000));
    let (asked, approved) = (office.audits("approval.asked").await, office.audits("approval.approved").await);
    assert_eq!((asked.len(), approved.len()), (1, 1));
    assert_eq!(
        (&asked[0]["actor"], &approved[0]["actor"]),
        (&json!(format!("user:{}", office.staff.user_id)), &json!(format!("user:{}", office.other.user_id)))
    );
    let listed = office.get("approvals/?status=approved").await.expect(200);
    assert_eq!(listed.body["results"][0]["result"]["amount"], 5_000);
    office.app.verify().await;
}

#[tokio::test]
async fn a_transfer_of_a_very_different_amount_and_a_large_plan_wait_too() {
    let office = Office::of_two().await;
    office.upgrade().await;
    let confirm = |amount: &str, reference: &str| json!({"account_id": office.ana.account_id, "external_payment_id": reference, "amount": amount, "payer_name": "Ana", "accept_amount_mismatch": true, "reason": "agreed"});

    let low = office.post("confirm-bank-transfer/", confirm("78.99", "BT-1")).await.expect(202);
    let high = office.post("confirm-bank-transfer/", confirm("890.00", "BT-2")).await.expect(202);
    let plan = office.post(&office.path("plan"), json!({"plan_slug": "enterprise", "reason": "a deal"})).await.expect(202);
    assert_eq!(office.app.count("select count(*) from payments").await, 0);
    let id = |reply: &Reply| reply.data()["approval"]["id"].clone();
    office.post_as(&office.other, &format!("approvals/{}/reject/", id(&high)), json!({"reason": "a typing error"})).await.expect(200);
    office.post_as(&office.other, &format!("approvals/{}/approve/", id(&high)), json!({})).await.expect_code(409, "approval_not_pending");
    let approved = office.post_as(&office.other, &format!("approvals/{}/approve/", id(&low)), json!({})).await.expect(200);
    assert_eq!(approved.data()["result"]["account"]["plan"]["slug"], "starter");
    office.post("confirm-bank-transfer/", confirm("79.00", "BT-3")).await.expect(200);
    office.post_as(&office.other, &format!("approvals/{}/approve/", id(&plan)), json!({})).await.expect(200);

    assert_eq!(office.found("plan=enterprise&q=ana").await, [office.ana.account_id]);
    office.app.verify().await;
}

#[tokio::test]
async fn an_order_that_nobody_judges_is_over_after_seven_days() {
    let mut office = Office::of_two().await;
    let waiting = office.post(&office.path("credits"), json!({"amount": 5_000, "reason": "sorry"})).await.expect(202);
    let id = waiting.data()["approval"]["id"].clone();
    office.after(7 * DAY).await;

    let late = office.post_as(&office.other, &format!("approvals/{id}/approve/"), json!({})).await.expect_code(409, "approval_not_pending");

    assert_eq!((late.body["state"].as_str(), office.credits().await), (Some("expired"), 2_000));
    let expired = office.get("approvals/?status=expired").await.expect(200);
    assert_eq!(expired.body["results"][0]["id"], id);
}

#[tokio::test]
async fn an_order_sent_again_with_its_key_waits_once() {
    let office = Office::of_two().await;
    let send = async || {
        let call = office
            .app
            .post(&format!("{ADMIN}/{}", office.path("credits")))
            .bearer(&office.staff.access)
            .header("Idempotency-Key", "gift-1");
        call.json(json!({"amount": 5_000, "reason": "sorry"})).send().await.expect(202)
    };

    let (first, again) = (send().await, send().await);

    assert_eq!((first.data(), again.header("idempotent-replayed").as_str()), (again.data(), "true"));
    assert_eq!(office.app.count("select count(*) from approvals").await, 1);
}
