//! Reports, approvals, partial payments, overpayments, withdrawn invoices and reversals: issue 5, requirements E, G, H.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);

/// A customer with an open invoice, and staff.
struct Counter {
    app: TestApp,
    ana: Session,
    staff: Session,
}

impl Counter {
    async fn open() -> Self {
        let app = TestApp::with(|config| config.throttle_disabled = true).await;
        let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
        Counter { app, ana, staff }
    }

    /// With an open invoice for starter.
    async fn owing() -> Self {
        let counter = Self::open().await;
        counter.upgrade("starter").await;
        counter
    }

    async fn post(&self, who: &Session, path: &str, body: Value) -> Reply {
        self.app.post(&format!("/api/v1/{path}")).bearer(&who.access).json(body).send().await
    }

    async fn get(&self, who: &Session, path: &str) -> Reply {
        self.app.get(&format!("/api/v1/{path}")).bearer(&who.access).send().await.expect(200)
    }

    async fn upgrade(&self, plan: &str) -> Value {
        self.post(&self.ana, "account/upgrade/", json!({"plan_slug": plan})).await.expect(201).data().clone()
    }

    async fn invoice(&self) -> Value {
        self.get(&self.ana, "billing/invoices/").await.body["results"][0].clone()
    }

    async fn report_with(&self, extra: Value) -> Reply {
        let invoice = self.invoice().await["id"].as_i64().unwrap();
        let mut body = json!({"reference": "BT-1", "amount": "89.00", "payer_name": "Ana Example", "paid_on": "2026-03-01"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.post(&self.ana, &format!("billing/invoices/{invoice}/report-transfer/"), body).await
    }

    async fn report(&self) -> i64 {
        self.report_with(json!({})).await.expect(201).data()["id"].as_i64().unwrap()
    }

    async fn confirm_with(&self, reference: &str, amount: &str, extra: Value) -> Reply {
        let mut body =
            json!({"account_id": self.ana.account_id, "external_payment_id": reference, "amount": amount, "payer_name": "Ana Example"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.post(&self.staff, "billing/admin/confirm-bank-transfer/", body).await
    }

    async fn confirm(&self, reference: &str, amount: &str) -> Reply {
        self.confirm_with(reference, amount, json!({})).await
    }

    async fn approve(&self, payment: i64, body: Value) -> Reply {
        self.post(&self.staff, &format!("billing/admin/payments/{payment}/approve/"), body).await
    }

    async fn reject(&self, payment: i64) -> Reply {
        self.post(&self.staff, &format!("billing/admin/payments/{payment}/reject/"), json!({"reason": "no such transfer"})).await
    }

    async fn reverse(&self, reference: &str) -> Reply {
        self.post(&self.staff, &format!("billing/admin/transfers/{reference}/reverse/"), json!({"reason": "recalled by the bank"})).await
    }

    async fn spend(&self, runs: i64) {
        self.post(&self.ana, "billing/credits/deduct/", json!({"operation": "clustering", "quantity": runs})).await.expect(201);
    }

    async fn account(&self) -> Value {
        self.get(&self.ana, "auth/me/").await.data()["user"]["account"].clone()
    }

    /// Status, plan and credits.
    async fn stands(&self) -> (String, String, i64) {
        let account = self.account().await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&account["status"]), text(&account["plan"]["slug"]), account["credits"].as_i64().unwrap())
    }

    async fn mails(&self, kind: &str) -> Vec<(String, String)> {
        let query = "select recipient, dedupe_key, sealed_bodies from mail_outbox where kind = $1 order by mail_id";
        let mails: Vec<(String, String, Vec<u8>)> = sqlx::query_as(query).bind(kind).fetch_all(self.app.pool()).await.unwrap();
        let text = |key: &str, sealed: &[u8]| {
            let opened = self.app.state.authenticator.vault().open(&format!("mail:{key}"), sealed).unwrap();
            serde_json::from_slice::<(String, String)>(&opened).unwrap().0
        };
        mails.into_iter().map(|(recipient, key, sealed)| (recipient, text(&key, &sealed))).collect()
    }

    async fn audits(&self, action: &str) -> i64 {
        let count = sqlx::query_scalar("select count(*) from audit_log where account_id = $1 and action = $2");
        count.bind(self.ana.account_id).bind(action).fetch_one(self.app.pool()).await.unwrap()
    }

    /// Lets time pass, and signs both in again.
    async fn after(&mut self, time: Duration) {
        self.app.advance(time);
        (self.ana, self.staff) = (self.app.log_in(&self.ana.email).await, self.app.log_in(&self.staff.email).await);
    }
}

fn stands(status: &str, plan: &str, credits: i64) -> (String, String, i64) {
    (status.to_owned(), plan.to_owned(), credits)
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_reported_transfer_waits_for_an_admin_and_activates_nothing() {
    let counter = Counter::owing().await;

    let reported = counter.report_with(json!({"note": "from my business account"})).await.expect(201);

    assert_eq!(
        (reported.data()["status"].as_str(), reported.data()["external_payment_id"].as_str()),
        (Some("pending_approval"), Some("BT-1"))
    );
    assert_eq!(counter.stands().await, stands("pending_payment", "free-trial", 2_000));
    let queue = counter.get(&counter.staff, "billing/admin/payments/?status=pending_approval&count=true").await;
    let row = &queue.body["results"][0];
    assert_eq!((queue.body["count"].as_i64(), &row["account_id"]), (Some(1), &json!(counter.ana.account_id)));
    assert_eq!((row["note"].as_str(), &row["invoice_number"]), (Some("from my business account"), &counter.invoice().await["number"]));
    assert_eq!(counter.audits("transfer.reported").await, 1);
    counter.app.verify().await;
}

#[tokio::test]
async fn the_same_report_is_one_payment_and_one_reference_is_one_report() {
    let counter = Counter::owing().await;
    let first = counter.report().await;

    let again = counter.report().await;
    let other = counter.report_with(json!({"amount": "88.00"})).await.expect_code(409, "already_reported");
    let reports = (0..20).map(|_| counter.report_with(json!({"reference": "BT-2"})));
    let parallel = join_all(reports).await;

    assert_eq!((first, other.body["state"].as_str()), (again, Some("pending_approval")));
    let ids = parallel.into_iter().map(|reply| reply.expect(201).data()["id"].as_i64()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((ids.len(), counter.app.count("select count(*) from payments").await), (1, 2));
}

#[tokio::test]
async fn a_report_with_an_idempotency_key_gives_its_first_answer_again() {
    let counter = Counter::owing().await;
    let path = format!("/api/v1/billing/invoices/{}/report-transfer/", counter.invoice().await["id"]);
    let send = async |amount: &str| {
        let body = json!({"reference": "BT-1", "amount": amount, "payer_name": "Ana", "paid_on": "2026-03-01"});
        counter.app.post(&path).bearer(&counter.ana.access).header("Idempotency-Key", "report-1").json(body).send().await
    };

    let first = send("89.00").await.expect(201);
    let payment = first.data()["id"].as_i64().unwrap();
    counter.reject(payment).await.expect(200);
    let again = send("89.00").await.expect(201);
    send("88.00").await.expect_code(409, "idempotency_key_reused");

    assert_eq!((again.data(), again.header("idempotent-replayed").as_str()), (first.data(), "true"));
    assert_eq!(counter.app.count("select count(*) from payments").await, 1);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_report_is_told_at_once() {
    let counter = Counter::owing().await;

    let wrong = counter.report_with(json!({"amount": "890.01", "currency": "EUR", "paid_on": "2026-03-02"})).await.expect(400);
    let nothing = counter.report_with(json!({"amount": 0, "paid_on": "2025-02-01"})).await.expect(400);
    let missing = counter.report_with(json!({"reference": " ", "payer_name": "", "paid_on": "soon", "colour": "red"})).await.expect(400);

    let fields = |reply: &Reply| reply.body["errors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&wrong), ["amount", "currency", "paid_on"]);
    assert_eq!(fields(&nothing), ["amount", "paid_on"]);
    assert_eq!(fields(&missing), ["colour", "paid_on", "payer_name", "reference"]);
    // Fourteen hours east of Greenwich it is tomorrow when it is ten in the morning here.
    counter.app.advance(Duration::from_secs(10 * 3_600));
    counter.ana_again().await.report_with(json!({"paid_on": "2026-03-02"})).await.expect(201);
}

impl Counter {
    async fn ana_again(mut self) -> Self {
        self.after(Duration::ZERO).await;
        self
    }
}

#[tokio::test]
async fn e_a_suspended_customer_reports_his_transfer_and_comes_back_by_its_approval() {
    let mut counter = Counter::owing().await;
    counter.after(DAY * 20).await;
    assert_eq!(counter.account().await["status"], "suspended");

    let payment = counter.report_with(json!({"paid_on": "2026-03-21"})).await.expect(201).data()["id"].as_i64().unwrap();
    counter.approve(payment, json!({})).await.expect(200);

    assert_eq!(counter.stands().await, stands("active", "starter", 1_000));
    counter.app.verify().await;
}

#[tokio::test]
async fn only_an_open_invoice_takes_reports_and_only_so_many_wait() {
    let counter = Counter::owing().await;
    for number in 0..20 {
        counter.report_with(json!({"reference": format!("BT-{number}")})).await.expect(201);
    }

    let too_many = counter.report_with(json!({"reference": "BT-20"})).await.expect_code(422, "too_many_reports");
    counter.confirm("BT-0", "89.00").await.expect(200);
    let paid = counter.report_with(json!({"reference": "BT-21"})).await.expect_code(409, "invoice_not_open");
    let known = counter.report_with(json!({"reference": "BT-0"})).await.expect_code(409, "already_reported");

    assert_eq!((too_many.body["limit"].as_i64(), paid.body["state"].as_str()), (Some(20), Some("paid")));
    assert_eq!(known.body["state"], "confirmed");
}

#[tokio::test]
async fn a_report_tells_nothing_of_another_accounts_transfer_and_blocks_nobody() {
    let counter = Counter::owing().await;
    let ben = counter.app.register("ben@example.com").await;
    let bens = counter.post(&ben, "account/upgrade/", json!({"plan_slug": "starter"})).await.expect(201).data()["id"].as_i64().unwrap();
    let body = json!({"reference": "BT-1", "amount": "89.00", "payer_name": "Ben", "paid_on": "2026-03-01"});
    let path = format!("billing/invoices/{bens}/report-transfer/");

    let before = counter.post(&ben, &path, body.clone()).await.expect(201).data()["id"].as_i64().unwrap();
    counter.confirm("BT-1", "89.00").await.expect(200);
    counter.reject(before).await.expect(200);
    let after = counter.post(&ben, &path, body).await.expect(201).data()["id"].as_i64().unwrap();
    counter.approve(after, json!({})).await.expect_code(409, "transfer_conflict");
    let foreign =
        counter.post(&counter.ana, &path, json!({"reference": "BT-9", "amount": 1, "payer_name": "Ana", "paid_on": "2026-03-01"})).await;

    foreign.expect_code(404, "not_found");
    counter.app.verify().await;
}

#[tokio::test]
async fn g_an_approval_does_what_a_confirmation_does_and_writes_to_the_owner() {
    let counter = Counter::owing().await;
    let payment = counter.report().await;

    let approved = counter.approve(payment, json!({})).await.expect(200);

    assert_eq!(
        (approved.data()["payment"]["id"].as_i64(), approved.data()["payment"]["status"].as_str()),
        (Some(payment), Some("confirmed"))
    );
    assert_eq!(approved.data()["changes"]["payment.status"], json!(["pending_approval", "confirmed"]));
    assert!(approved.body["message"].as_str().unwrap().starts_with("Starter is active for "));
    assert_eq!(counter.stands().await, stands("active", "starter", 1_000));
    let mails = counter.mails("payment_confirmed").await;
    assert_eq!((mails.len(), mails[0].0.as_str()), (1, "ana@example.com"));
    assert!(mails[0].1.contains("89.00 USD") && mails[0].1.contains("/billing/invoices/"), "{}", mails[0].1);
    assert_eq!(counter.audits("transfer.confirmed").await, 1);
    counter.app.verify().await;
}

#[tokio::test]
async fn a_judged_report_is_not_judged_again() {
    let counter = Counter::owing().await;
    let first = counter.report().await;
    counter.reject(first).await.expect(200);
    let second = counter.report().await;
    counter.approve(second, json!({})).await.expect(200);

    for (payment, state) in [(first, "rejected"), (second, "confirmed")] {
        let approved = counter.approve(payment, json!({})).await.expect_code(409, "payment_not_pending");
        let rejected = counter.reject(payment).await.expect_code(409, "payment_not_pending");

        assert_eq!((approved.body["state"].as_str(), rejected.body["state"].as_str()), (Some(state), Some(state)));
    }
    counter.approve(999_999, json!({})).await.expect_code(404, "not_found");
    counter.app.verify().await;
}

#[tokio::test]
async fn a_rejection_has_a_reason_that_the_owner_reads() {
    let counter = Counter::owing().await;
    let payment = counter.report().await;
    let path = format!("billing/admin/payments/{payment}/reject/");

    let without = counter.post(&counter.staff, &path, json!({})).await.expect(400);
    let rejected = counter.reject(payment).await.expect(200);

    assert!(without.body["errors"]["reason"].is_array());
    assert_eq!((rejected.data()["status"].as_str(), rejected.data()["reason"].as_str()), (Some("rejected"), Some("no such transfer")));
    let mails = counter.mails("payment_rejected").await;
    assert!(mails.len() == 1 && mails[0].0 == "ana@example.com" && mails[0].1.contains("no such transfer"), "{mails:?}");
    assert_eq!((counter.audits("transfer.rejected").await, counter.audits("transfer.confirmed").await), (1, 0));
    assert_eq!(counter.stands().await, stands("pending_payment", "free-trial", 2_000));
    let listed = counter.get(&counter.ana, "billing/payments/?status=rejected&count=true").await;
    assert_eq!((listed.body["count"].as_i64(), listed.body["results"][0]["reason"].as_str()), (Some(1), Some("no such transfer")));
    counter.app.verify().await;
}

#[tokio::test]
async fn g_a_transfer_that_was_reported_and_confirmed_directly_counts_once() {
    let counter = Counter::owing().await;
    let payment = counter.report_with(json!({"payer_name": "A. Example"})).await.expect(201).data()["id"].as_i64().unwrap();

    let direct = counter.confirm("BT-1", "89.00").await.expect(200);
    let approved = counter.approve(payment, json!({})).await.expect_code(409, "payment_not_pending");

    assert_eq!((direct.data()["payment"]["id"].as_i64(), approved.body["state"].as_str()), (Some(payment), Some("confirmed")));
    assert_eq!(direct.data()["changes"]["payment.payer_name"], json!(["A. Example", "Ana Example"]));
    assert_eq!(counter.app.count("select count(*) from payments").await, 1);
    counter.app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_fifty_approvals_and_confirmations_of_one_transfer_at_once_have_one_effect() {
    let counter = Arc::new(Counter::owing().await);
    for round in 0..4 {
        let reference = format!("BT-R{round}");
        if round > 0 {
            counter.upgrade("starter").await;
        }
        let payment = counter.report_with(json!({"reference": reference})).await.expect(201).data()["id"].as_i64().unwrap();

        let judges = (0..50).map(|judge| {
            let (counter, reference) = (Arc::clone(&counter), reference.clone());
            tokio::spawn(async move {
                match judge % 3 {
                    0 | 1 => counter.approve(payment, json!({})).await.status.as_u16(),
                    _ => counter.confirm(&reference, "89.00").await.status.as_u16(),
                }
            })
        });
        let statuses = join_all(judges).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();

        // 503: told to try again, where so many wait for one account.
        assert!(statuses.iter().all(|status| [200, 409, 503].contains(status)), "{statuses:?}");
        assert!(statuses.contains(&200));
    }
    let confirmed = counter.app.count("select count(*) from payments where status = 'confirmed'").await;
    assert_eq!((confirmed, counter.app.count("select count(*) from subscription_periods where payment_id is not null").await), (4, 4));
    assert_eq!(counter.mails("payment_confirmed").await.len(), 4);
    counter.app.verify().await;
}

#[tokio::test]
async fn an_approval_in_a_dry_run_writes_nothing_and_another_amount_needs_a_reason() {
    let counter = Counter::owing().await;
    let payment = counter.report_with(json!({"amount": "80.00"})).await.expect(201).data()["id"].as_i64().unwrap();
    let accepting = |extra: Value| {
        let mut body = json!({"accept_amount_mismatch": true, "reason": "bank fees"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };

    let refused = counter.approve(payment, json!({})).await.expect_code(422, "amount_mismatch");
    let both = counter.approve(payment, accepting(json!({"partial": true}))).await.expect(400);
    let dry = counter.approve(payment, accepting(json!({"dry_run": true}))).await.expect(200);
    assert_eq!(counter.stands().await, stands("pending_payment", "free-trial", 2_000));
    let real = counter.approve(payment, accepting(json!({}))).await.expect(200);

    assert_eq!((refused.body["expected"].as_str(), refused.body["given"].as_str()), (Some("89.00"), Some("80.00")));
    assert!(both.body["errors"]["partial"].is_array());
    assert_eq!(dry.data()["changes"], real.data()["changes"]);
    assert_eq!(
        (real.data()["invoice"]["status"].as_str(), real.data()["invoice"]["account_balance"].as_str()),
        (Some("paid"), Some("0.00"))
    );
    counter.app.verify().await;
}

#[tokio::test]
async fn the_queue_is_oldest_first_and_pages_lead_forth_and_back() {
    let counter = Counter::owing().await;
    for number in 1..=5 {
        counter.report_with(json!({"reference": format!("BT-{number}")})).await.expect(201);
    }
    let page = async |address: String| {
        let reply = counter.get(&counter.staff, address.split("/api/v1/").last().unwrap()).await;
        let rows = reply.body["results"].as_array().unwrap().iter();
        let references = rows.map(|row| row["external_payment_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (references, reply.body["next"].as_str().map(str::to_owned), reply.body["previous"].as_str().map(str::to_owned))
    };

    let first = page("billing/admin/payments/?status=pending_approval&page_size=2".to_owned()).await;
    let second = page(first.1.clone().unwrap()).await;
    let third = page(second.1.clone().unwrap()).await;
    let back = page(third.2.clone().unwrap()).await;

    assert_eq!(
        (first.0, second.0, third.0),
        (vec!["BT-1".to_owned(), "BT-2".into()], vec!["BT-3".to_owned(), "BT-4".into()], vec!["BT-5".to_owned()])
    );
    assert_eq!((first.2, third.1, back.0), (None, None, vec!["BT-3".to_owned(), "BT-4".into()]));
}

#[tokio::test]
async fn a_payment_is_found_by_the_banks_reference_and_by_ours_however_it_was_typed() {
    let counter = Counter::owing().await;
    let payment = counter.report().await;
    let reference = counter.invoice().await["reference"].as_str().unwrap().to_owned();
    let typed = format!("{}+{}", &reference[..4], &reference[4..]).to_lowercase().replace('0', "o");

    for (query, found) in [("BT-1", 1), (reference.as_str(), 1), (typed.as_str(), 1), ("BT-2", 0)] {
        let list = counter.get(&counter.staff, &format!("billing/admin/payments/?reference={query}")).await;
        let ids = list.body["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>();

        assert_eq!(ids, vec![payment; found], "{query}");
    }
}

#[tokio::test]
async fn partial_payments_add_up_and_activate_once_when_complete() {
    let counter = Counter::owing().await;
    let partial = json!({"partial": true});

    counter.confirm("BT-1", "40.00").await.expect_code(422, "amount_mismatch");
    let first = counter.confirm_with("BT-1", "40.00", partial.clone()).await.expect(200);
    let after_first = (counter.stands().await, counter.invoice().await);
    let again = counter.confirm_with("BT-1", "40.00", partial.clone()).await.expect(200);
    let mismatch = counter.confirm("BT-2", "89.00").await.expect_code(422, "amount_mismatch");
    let payment = counter.report_with(json!({"reference": "BT-3", "amount": "20"})).await.expect(201).data()["id"].as_i64().unwrap();
    counter.approve(payment, partial).await.expect(200);
    let complete = counter.confirm("BT-4", "29.00").await.expect(200);

    assert!(first.body["message"].as_str().unwrap().contains("49.00 outstanding, nothing activated"), "{}", first.text);
    assert_eq!((&first.data()["transaction"], &first.data()["subscription"]["status"]), (&Value::Null, &json!("trialing")));
    assert_eq!(first.data()["changes"]["invoice.paid"], json!(["0.00", "40.00"]));
    let (stood, invoice) = after_first;
    assert_eq!(stood, stands("pending_payment", "free-trial", 2_000));
    assert_eq!(
        (invoice["paid"].as_str(), invoice["outstanding"].as_str(), invoice["status"].as_str()),
        (Some("40.00"), Some("49.00"), Some("open"))
    );
    assert_eq!((again.data()["already_confirmed"].as_bool(), mismatch.body["expected"].as_str()), (Some(true), Some("49.00")));
    assert_eq!(complete.data()["invoice"]["status"], "paid");
    assert_eq!(
        (counter.stands().await, counter.invoice().await["account_balance"].as_str()),
        (stands("active", "starter", 1_000), Some("0.00"))
    );
    assert_eq!(counter.app.count("select count(*) from subscription_periods where payment_id is not null").await, 1);
    let told = counter.mails("payment_confirmed").await;
    assert!(
        told.len() == 3 && told[0].1.contains("49.00 USD are still outstanding") && told[2].1.contains("The invoice is paid."),
        "{told:?}"
    );
    counter.app.verify().await;
}

#[tokio::test]
async fn an_overpayment_is_kept_and_counts_for_the_next_invoice() {
    let mut counter = Counter::owing().await;

    counter.confirm("BT-1", "100.00").await.expect_code(422, "amount_mismatch");
    let over = counter.confirm_with("BT-1", "100.00", json!({"partial": true})).await.expect(200);
    counter.after(DAY * 25).await;
    let next = counter.upgrade("starter").await;
    let renewed = counter.confirm("BT-2", "78.00").await.expect(200);

    assert_eq!(
        (over.data()["invoice"]["account_balance"].as_str(), over.data()["account"]["status"].as_str()),
        (Some("11.00"), Some("active"))
    );
    assert!(over.body["message"].as_str().unwrap().contains("; 11.00 USD kept; "), "{}", over.text);
    assert_eq!(
        (next["amount"].as_str(), next["paid"].as_str(), next["outstanding"].as_str()),
        (Some("89.00"), Some("11.00"), Some("78.00"))
    );
    assert_eq!(
        (renewed.data()["invoice"]["account_balance"].as_str(), renewed.data()["invoice"]["purpose"].as_str()),
        (Some("0.00"), Some("renewal"))
    );
    counter.app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parts_at_once_add_up_to_one_activation() {
    let counter = Arc::new(Counter::owing().await);

    let parts = (0..50).map(|part| {
        let counter = Arc::clone(&counter);
        tokio::spawn(async move {
            let (reference, body) = (format!("BT-{part}"), json!({"partial": true, "plan_slug": "starter"}));
            // Fifty wait for one account: who waits too long is told to send it again, and a reference counts once.
            loop {
                let reply = counter.confirm_with(&reference, "2.00", body.clone()).await;
                if reply.status.as_u16() != 503 {
                    break reply;
                }
            }
        })
    });
    for reply in join_all(parts).await {
        reply.unwrap().expect(200);
    }

    // 45 of them pay for starter, and the other five wait for the next invoice.
    assert_eq!(counter.app.count("select count(*) from subscription_periods where payment_id is not null").await, 1);
    assert_eq!(counter.app.text("select balance::text from account_money".to_owned()).await, "11.00");
    counter.app.verify().await;
}

#[tokio::test]
async fn a_withdrawn_invoice_keeps_its_number_and_what_was_paid_towards_it_counts_for_the_next() {
    let counter = Counter::owing().await;
    counter.confirm_with("BT-1", "40.00", json!({"partial": true})).await.expect(200);
    let first = counter.invoice().await;
    let path = format!("billing/admin/invoices/{}/void/", first["id"]);

    let without = counter.post(&counter.staff, &path, json!({})).await.expect(400);
    let void = counter.post(&counter.staff, &path, json!({"reason": "wrong plan"})).await.expect(200);
    let again = counter.post(&counter.staff, &path, json!({"reason": "wrong plan"})).await.expect_code(409, "invoice_not_open");
    let next = counter.upgrade("starter").await;

    assert!(without.body["errors"]["reason"].is_array());
    assert_eq!(
        (void.data()["status"].as_str(), void.data()["outstanding"].as_str(), again.body["state"].as_str()),
        (Some("void"), Some("0.00"), Some("void"))
    );
    assert_eq!((&void.data()["number"], next["number"].as_str().unwrap().ends_with("-0002")), (&first["number"], true));
    assert_eq!((next["paid"].as_str(), next["outstanding"].as_str()), (Some("40.00"), Some("49.00")));
    assert_eq!(counter.audits("invoice.voided").await, 1);
    counter.app.verify().await;
}

#[tokio::test]
async fn a_reversed_transfer_takes_back_what_is_unspent_and_the_trial_runs_on() {
    let mut counter = Counter::open().await;
    counter.spend(10).await; // 100 of the trial's 2,000
    counter.upgrade("starter").await;
    counter.confirm("BT-1", "89.00").await.expect(200);
    counter.after(DAY).await;
    counter.spend(30).await; // 300 of starter's 1,000

    let reversed = counter.reverse("BT-1").await.expect(200);

    let data = reversed.data();
    assert_eq!(data["credits"], json!({"granted": 1_000, "taken_back": 700, "spent": 300, "given_back": 1_600}));
    assert_eq!(
        (data["payment"]["status"].as_str(), data["invoice"]["status"].as_str(), data["invoice"]["paid"].as_str()),
        (Some("reversed"), Some("open"), Some("0.00"))
    );
    assert_eq!(data["changes"]["account.status"], json!(["active", "pending_payment"]));
    assert_eq!(counter.stands().await, stands("pending_payment", "free-trial", 1_600));
    let subscription = counter.account().await["subscription"].clone();
    assert_eq!(
        (subscription["status"].as_str(), instant(&subscription["current_period_end"])),
        (Some("trialing"), counter.app.now() + TimeDelta::days(13))
    );
    assert_eq!((counter.audits("transfer.reversed").await, counter.mails("payment_reversed").await.len()), (1, 1));
    counter.app.verify().await;

    counter.confirm("BT-1", "89.00").await.expect_code(409, "transfer_conflict");
    counter.confirm("BT-2", "89.00").await.expect(200);
    assert_eq!(counter.stands().await, stands("active", "starter", 1_000));
    counter.app.verify().await;
}

#[tokio::test]
async fn a_reversal_in_a_dry_run_writes_nothing_and_twice_is_once() {
    let counter = Counter::owing().await;
    counter.confirm("BT-1", "89.00").await.expect(200);
    let dry_run = json!({"reason": "recalled", "dry_run": true});

    let dry = counter.post(&counter.staff, "billing/admin/transfers/BT-1/reverse/", dry_run).await.expect(200);
    assert_eq!(counter.stands().await, stands("active", "starter", 1_000));
    let reversals = join_all((0..10).map(|_| counter.reverse("BT-1"))).await;
    counter.reverse("BT-2").await.expect_code(404, "not_found");
    let owner = counter.post(&counter.ana, "billing/admin/transfers/BT-1/reverse/", json!({"reason": "mine"})).await;

    owner.expect_code(403, "billing_admin_required");
    assert_eq!((dry.data()["dry_run"].as_bool(), dry.data()["already_reversed"].as_bool()), (Some(true), Some(false)));
    let repeated = reversals.into_iter().filter(|reply| reply.data()["already_reversed"] == true).count();
    assert_eq!((repeated, counter.audits("transfer.reversed").await), (9, 1));
    counter.app.verify().await;
}

#[tokio::test]
async fn a_reversal_after_the_trials_end_suspends_and_records_the_lapse() {
    let mut counter = Counter::owing().await;
    counter.confirm("BT-1", "89.00").await.expect(200);
    counter.after(DAY * 20).await;

    let reversed = counter.reverse("BT-1").await.expect(200);
    assert_eq!(reversed.data()["changes"]["account.status"], json!(["active", "suspended"]));
    assert_eq!((reversed.data()["credits"]["given_back"].as_i64(), counter.account().await["credits"].as_i64()), (Some(0), Some(0)));
    counter.app.verify().await;
    let closed_at = counter.app.now();
    counter.after(DAY * 5).await;
    counter.confirm("BT-2", "89.00").await.expect(200);

    let history = counter.get(&counter.ana, "account/subscription/").await;
    assert_eq!(instant(&history.data()["periods"][0]["lapsed_from"]), closed_at);
    assert_eq!(counter.stands().await, stands("active", "starter", 1_000));
    counter.app.verify().await;
}

#[tokio::test]
async fn a_renewal_reversed_before_it_begins_leaves_the_running_period() {
    let mut counter = Counter::owing().await;
    counter.confirm("BT-1", "89.00").await.expect(200);
    let first_end = instant(&counter.account().await["subscription"]["current_period_end"]);
    counter.spend(40).await; // 400, so that 600 expire at the renewal
    counter.after(DAY * 20).await;
    counter.confirm("BT-2", "89.00").await.expect(200);
    counter.spend(10).await; // 100 of the new 1,000

    let first = counter.reverse("BT-1").await.expect_code(409, "later_transfer");
    let second = counter.reverse("BT-2").await.expect(200);

    assert_eq!(first.body["external_payment_id"], "BT-2");
    assert_eq!(second.data()["credits"], json!({"granted": 1_000, "taken_back": 900, "spent": 100, "given_back": 500}));
    assert_eq!(counter.stands().await, stands("active", "starter", 500));
    assert_eq!(instant(&counter.account().await["subscription"]["current_period_end"]), first_end);
    counter.app.verify().await;
    counter.confirm("BT-3", "89.00").await.expect(200);
    assert_eq!(instant(&counter.account().await["subscription"]["current_period_start"]), first_end);
    counter.reverse("BT-3").await.expect(200);
    counter.reverse("BT-1").await.expect(200);
    assert_eq!(counter.account().await["status"], "suspended");
    counter.app.verify().await;
}

#[tokio::test]
async fn any_part_of_a_paid_invoice_reversed_opens_it_again() {
    let counter = Counter::owing().await;
    counter.confirm_with("BT-1", "40.00", json!({"partial": true})).await.expect(200);
    counter.confirm("BT-2", "49.00").await.expect(200);

    let reversed = counter.reverse("BT-1").await.expect(200);

    let invoice = &reversed.data()["invoice"];
    assert_eq!(
        (invoice["status"].as_str(), invoice["paid"].as_str(), invoice["outstanding"].as_str()),
        (Some("open"), Some("49.00"), Some("40.00"))
    );
    assert_eq!(counter.stands().await, stands("pending_payment", "free-trial", 2_000));
    counter.app.verify().await;
    counter.confirm("BT-3", "40.00").await.expect(200);
    counter.reverse("BT-2").await.expect(200);
    counter.app.verify().await;
}

#[tokio::test]
async fn money_that_a_later_invoice_has_taken_is_not_reversed_under_it() {
    let mut counter = Counter::owing().await;
    counter.confirm_with("BT-1", "100.00", json!({"partial": true})).await.expect(200);
    counter.after(DAY * 31).await;
    counter.confirm("BT-2", "78.00").await.expect(200);

    counter.reverse("BT-1").await.expect_code(409, "money_used");
    counter.reverse("BT-2").await.expect(200);
    counter.reverse("BT-1").await.expect(200);

    counter.app.verify().await;
    assert_eq!(counter.app.count("select count(*) from account_money where balance = 0").await, 1);
}

#[tokio::test]
async fn a_waived_rest_is_owed_again_after_the_reversal() {
    let counter = Counter::owing().await;
    counter.confirm_with("BT-1", "80.00", json!({"accept_amount_mismatch": true, "reason": "bank fees"})).await.expect(200);

    let reversed = counter.reverse("BT-1").await.expect(200);

    assert_eq!(reversed.data()["invoice"]["outstanding"], "89.00");
    counter.app.verify().await;
}

#[tokio::test]
async fn bank_details_are_those_of_the_customers_country() {
    let counter = Counter::open().await;
    let bank = async |country: &str| {
        let body = json!({"billing_address": {"country": country}});
        counter.app.patch("/api/v1/account/").bearer(&counter.ana.access).json(body).send().await.expect(200);
        let offered = counter.get(&counter.ana, "billing/payment-methods/available/").await;
        offered.data()[0]["details"]["bank_name"].as_str().unwrap().to_owned()
    };

    let banks = [bank("gb").await, bank("DE").await, bank("JP").await, bank("PK").await];

    assert_eq!(banks, ["Example Bank UK", "Example Bank EU", "Example Bank", "Example Bank Pakistan"]);
    assert_eq!(counter.upgrade("starter").await["bank_details"]["bank_name"], "Example Bank Pakistan");
}

#[tokio::test]
async fn a_developer_changes_bank_details_by_country_and_issued_invoices_keep_theirs() {
    let counter = Counter::owing().await;
    let path = "/api/v1/billing/admin/payment-methods/bank_transfer/";
    let change = async |who: &Session, body: Value| counter.app.patch(path).bearer(&who.access).json(body).send().await;
    let details = json!({"bank_name": "New Bank", "iban": "XX11"});

    let jp = change(&counter.staff, json!({"country": "jp", "details": details, "reason": "we opened there"})).await.expect(200);
    change(&counter.staff, json!({"details": details, "reason": "moved"})).await.expect(200);
    change(&counter.staff, json!({"details": details, "reason": "moved"})).await.expect(200);
    let wrong = change(&counter.staff, json!({"country": "1!", "details": {"iban": 7}, "reason": "x"})).await.expect(400);
    change(&counter.ana, json!({"details": details, "reason": "mine"})).await.expect_code(403, "developer_required");

    let countries = jp.data()["countries"].as_array().unwrap().iter().map(|row| row["country"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(countries, ["EU", "GB", "JP", "PK", "US"]);
    assert_eq!(counter.get(&counter.staff, "billing/admin/payment-methods/").await.data()[0]["details"], details);
    assert_eq!(wrong.body["errors"].as_object().unwrap().len(), 2);
    assert_eq!(counter.invoice().await["bank_details"]["bank_name"], "Example Bank");
    assert_eq!(counter.app.count("select count(*) from audit_log where action = 'payment_method.changed'").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invoice_numbers_have_no_gap_when_many_ask_at_once() {
    let counter = Arc::new(Counter::open().await);

    let asking = (0..40).map(|turn| {
        let counter = Arc::clone(&counter);
        let plan = ["starter", "growth", "scale"][turn % 3];
        tokio::spawn(async move { counter.upgrade(plan).await })
    });
    join_all(asking).await.into_iter().for_each(|invoice| drop(invoice.unwrap()));

    let numbers =
        sqlx::query_scalar::<_, String>("select number from invoices order by number").fetch_all(counter.app.pool()).await.unwrap();
    let expected = (1..=numbers.len()).map(|number| format!("INV-{}-202603-{number:04}", counter.ana.account_id)).collect::<Vec<_>>();
    assert_eq!(numbers, expected);
    assert_eq!(counter.app.count("select count(*) from invoices where status = 'open'").await, 1);
}

#[tokio::test]
async fn the_database_refuses_to_change_or_delete_a_money_row() {
    let counter = Counter::owing().await;
    counter.confirm("BT-1", "89.00").await.expect(200);

    for statement in ["update account_money_entries set amount = 1", "delete from account_money_entries", "truncate account_money_entries"]
    {
        let refused = sqlx::query(statement).execute(counter.app.pool()).await.unwrap_err();

        assert!(refused.to_string().contains("only ever added"), "{statement}: {refused}");
    }
}
