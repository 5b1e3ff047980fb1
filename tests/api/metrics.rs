//! Figures for the owner of the business, shown on a history that is known. Issue 5.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Session, TestApp};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

const METRICS: &str = "/api/v1/billing/admin/metrics/";

/// A business whose clock is moved from day to day.
struct Business {
    app: TestApp,
}

impl Business {
    async fn open() -> Self {
        let app = TestApp::with(|config| config.throttle_disabled = true).await;
        app.operator().await;
        app.execute(
            "insert into plans (slug, name, price, billing_cycle, credits_per_month, max_sites, max_users, max_sectors, features, is_active, assignment, throttle_factor, created_at, updated_at)
             select 'yearly', 'Yearly', 1000, 'annual', credits_per_month, max_sites, max_users, max_sectors, features, true, assignment, throttle_factor, created_at, updated_at
             from plans where slug = 'scale'",
        )
        .await;
        Business { app }
    }

    /// Lets time pass until that day begins.
    fn on(&self, day: &str) {
        let then = format!("{day}T00:00:00Z").parse::<DateTime<Utc>>().unwrap();
        self.app.advance((then - self.app.now()).to_std().unwrap());
    }

    async fn post(&self, email: &str, path: &str, body: Value) -> Value {
        let who = self.app.log_in(email).await;
        let reply = self.app.post(&format!("/api/v1/{path}")).bearer(&who.access).json(body).send().await;
        assert!(reply.status.is_success(), "{}", reply.text);
        reply.data().clone()
    }

    async fn staff(&self, path: &str, body: Value) -> Value {
        self.post("staff@example.com", &format!("billing/admin/{path}"), body).await
    }

    async fn pays(&self, who: &Session, (plan, amount, reference): (&str, &str, &str)) {
        let transfer =
            json!({"account_id": who.account_id, "external_payment_id": reference, "amount": amount, "payer_name": "X", "plan_slug": plan});
        self.staff("confirm-bank-transfer/", transfer).await;
    }

    async fn told(&self, query: &str) -> Value {
        let staff = self.app.log_in("staff@example.com").await;
        self.app.get(&format!("{METRICS}{query}")).bearer(&staff.access).send().await.expect(200).data().clone()
    }

    /// March to May: one who stays, is taken back and is not there any more; one who goes and returns; one for a year; one who owes.
    async fn lived() -> Self {
        let business = Self::open().await;
        let (ana, bea) = (business.app.register("ana@example.com").await, business.app.register("bea@example.com").await);
        business.on("2026-03-05");
        business.pays(&ana, ("starter", "89.00", "A-1")).await;
        business.on("2026-03-20");
        business.pays(&bea, ("growth", "139.00", "B-1")).await;
        business.on("2026-04-02");
        business.pays(&ana, ("starter", "89.00", "A-2")).await;
        let (cleo, dora) = (business.app.register("cleo@example.com").await, business.app.register("dora@example.com").await);
        business.post("cleo@example.com", "account/upgrade/", json!({"plan_slug": "starter"})).await;
        let part =
            json!({"account_id": cleo.account_id, "external_payment_id": "C-1", "amount": "40.00", "payer_name": "X", "partial": true});
        business.staff("confirm-bank-transfer/", part).await;
        business.on("2026-04-10");
        business.pays(&dora, ("yearly", "1000.00", "D-1")).await;
        business.on("2026-05-02");
        business.staff("transfers/A-2/reverse/", json!({"reason": "recalled by the bank"})).await;
        business.on("2026-05-10");
        business.pays(&bea, ("growth", "139.00", "B-2")).await;
        business
    }
}

fn month<'a>(metrics: &'a Value, label: &str) -> &'a Value {
    metrics["months"].as_array().unwrap().iter().find(|month| month["month"] == label).unwrap_or_else(|| panic!("{label} in {metrics}"))
}

/// What is told of a month, in one line.
fn money(metrics: &Value, label: &str) -> Value {
    let month = month(metrics, label);
    json!([month["mrr"], month["paying_accounts"], month["arpa"], month["cash_in"]])
}

/// New, returned, lost.
fn moves(metrics: &Value, label: &str) -> Value {
    let month = month(metrics, label);
    json!([month["new_accounts"], month["returned_accounts"], month["lost_accounts"]])
}

#[tokio::test]
async fn mrr_is_what_those_pay_who_have_paid_time_at_the_months_end_and_cash_is_what_came_in_it() {
    let business = Business::lived().await;
    business.on("2026-06-01");

    let told = business.told("?months=5").await;

    assert_eq!(told["currency"], "USD");
    assert_eq!(money(&told, "2026-02"), json!(["0.00", 0, null, "0.00"]), "before anything was");
    assert_eq!(money(&told, "2026-03"), json!(["228.00", 2, "114.00", "228.00"]));
    assert_eq!(money(&told, "2026-04"), json!(["172.33", 2, "86.17", "1129.00"]), "89 and a twelfth of 1000; a part counts as cash");
    assert_eq!(money(&told, "2026-05"), json!(["222.33", 2, "111.17", "50.00"]), "what was taken back counts in its own month");
    assert_eq!(money(&told, "2026-06"), json!(["222.33", 2, "111.17", "0.00"]), "the month that is not over is told as of now");
    assert_eq!(
        ["2026-03", "2026-04", "2026-05", "2026-06"].map(|label| moves(&told, label)),
        [json!([2, 0, 0]), json!([1, 0, 1]), json!([0, 1, 1]), json!([0, 0, 0]),]
    );
    business.app.verify().await;
}

#[tokio::test]
async fn trials_are_told_by_the_month_of_signup_and_overdue_is_what_is_still_to_come() {
    let business = Business::lived().await;

    let told = business.told("").await;

    assert_eq!(told["months"].as_array().unwrap().len(), 12);
    assert_eq!(
        month(&told, "2026-03")["trials"],
        json!({"signups": 2, "converted": 2, "converted_in_trial": 1, "conversion_rate": "1.0000"})
    );
    assert_eq!(
        month(&told, "2026-04")["trials"],
        json!({"signups": 2, "converted": 1, "converted_in_trial": 1, "conversion_rate": "0.5000"})
    );
    assert_eq!(month(&told, "2026-05")["trials"], json!({"signups": 0, "converted": 0, "converted_in_trial": 0, "conversion_rate": null}));
    // What is left of one invoice, and the whole of one whose transfer was taken back.
    assert_eq!(told["overdue"], json!({"invoices": 2, "amount": "138.00"}));
}

#[tokio::test]
async fn a_month_that_is_over_is_told_the_same_whatever_comes_later() {
    let business = Business::lived().await;
    let before = business.told("?months=3").await;
    let staff = business.app.log_in("staff@example.com").await;

    let edit = json!({"price": "990.00", "reason": "dearer"});
    business.app.patch("/api/v1/billing/admin/plans/growth/").bearer(&staff.access).json(edit).send().await.expect(200);
    business.on("2026-06-02");
    let gone = business.app.log_in("dora@example.com").await;
    business.app.delete("/api/v1/account/").bearer(&gone.access).send().await.expect(200);
    let after = business.told("?months=4").await;

    for label in ["2026-03", "2026-04"] {
        assert_eq!(month(&before, label), month(&after, label));
    }
    assert_eq!(money(&after, "2026-05"), money(&before, "2026-05"));
    assert_eq!((money(&after, "2026-06"), moves(&after, "2026-06")), (json!(["139.00", 1, "139.00", "0.00"]), json!([0, 0, 1])));
}

#[tokio::test]
async fn staffs_own_account_and_time_that_nobody_paid_for_count_nothing() {
    let business = Business::open().await;
    let ana = business.app.register("ana@example.com").await;
    let set = format!("accounts/{}/plan/", ana.account_id);
    business.staff(&set, json!({"plan_slug": "scale", "reason": "a friend"})).await;

    let told = business.told("?months=1").await;

    assert_eq!(
        (money(&told, "2026-03"), month(&told, "2026-03")["trials"]["signups"].as_i64()),
        (json!(["0.00", 0, null, "0.00"]), Some(1))
    );
    assert_eq!(told["overdue"], json!({"invoices": 0, "amount": "0.00"}));
}

#[tokio::test]
async fn the_chart_is_an_svg_that_needs_no_exception_from_the_policy() {
    let business = Business::lived().await;
    let staff = business.app.log_in("staff@example.com").await;

    let reply = business.app.get(&format!("{METRICS}chart.svg/?months=4")).bearer(&staff.access).send().await.expect(200);

    assert_eq!(reply.header("content-type"), "image/svg+xml");
    assert!(reply.header("content-security-policy").starts_with("default-src 'none'"), "{}", reply.header("content-security-policy"));
    let mut reader = quick_xml::Reader::from_str(&reply.text);
    while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
    for told in ["2026-04: MRR 172.33 USD", "2026-05: cash in 50.00 USD", "MRR 222.33 USD from 2 paying account(s)"] {
        assert!(reply.text.contains(told), "{told} in {}", reply.text);
    }
    std::fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart.svg"), &reply.text).unwrap();
}

#[tokio::test]
async fn a_number_of_months_is_from_1_to_60() {
    let business = Business::open().await;
    let staff = business.app.log_in("staff@example.com").await;

    for query in ["?months=0", "?months=61", "?months=-1", "?months=x", "?weeks=3"] {
        for path in [METRICS.to_owned(), format!("{METRICS}chart.svg/")] {
            business.app.get(&format!("{path}{query}")).bearer(&staff.access).send().await.expect_code(400, "invalid_input");
        }
    }
    assert_eq!(business.told("?months=60").await["months"].as_array().unwrap().len(), 60);
}
