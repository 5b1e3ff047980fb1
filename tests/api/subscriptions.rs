//! Paid time over HTTP: plans in versions, smaller plans, renewals, reminders, and why each date is what it is: issue 5.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use axum::http::Method;
use futures::future::join_all;
use igny8::{
    accounts::life::end_periods,
    billing::{reminders::service::remind, renewals::service::invoice_due, service::Terms},
    period::days,
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::time::Duration;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const MICRO: Duration = Duration::from_micros(1);

/// An account's life as clients see it; tokens are fetched anew, for days pass between the calls.
pub(crate) struct Story {
    pub(crate) app: TestApp,
    pub(crate) ana: Session,
}

impl Story {
    pub(crate) async fn begin() -> Self {
        let app = TestApp::with(|config| config.throttle_disabled = true).await;
        let ana = app.register("ana@example.com").await;
        app.operator().await;
        Story { app, ana }
    }

    /// With so much paid for that plan.
    pub(crate) async fn paid(plan: &str, amount: &str) -> Self {
        let story = Self::begin().await;
        story.pay("BT-1", amount, json!({"plan_slug": plan})).await.expect(200);
        story
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Reply {
        let ana = self.app.log_in(&self.ana.email).await;
        let call = self.app.request(method.clone(), &format!("/api/v1/{path}")).bearer(&ana.access);
        if method == Method::GET || method == Method::DELETE { call.send().await } else { call.json(body).send().await }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, json!({})).await.expect(200).body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn by_staff(&self, method: Method, path: &str, body: Value) -> Reply {
        let staff = self.app.log_in("staff@example.com").await;
        let call = self.app.request(method.clone(), &format!("/api/v1/billing/admin/{path}")).bearer(&staff.access);
        if method == Method::GET { call.send().await } else { call.json(body).send().await }
    }

    pub(crate) async fn pay(&self, reference: &str, amount: &str, extra: Value) -> Reply {
        let mut body = json!({"account_id": self.ana.account_id, "external_payment_id": reference, "amount": amount, "payer_name": "Ana"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.by_staff(Method::POST, "confirm-bank-transfer/", body).await
    }

    pub(crate) async fn downgrade(&self, plan: &str) -> Reply {
        self.post("account/downgrade/", json!({"plan_slug": plan})).await
    }

    /// Status of account and subscription, plan, and the present period's end.
    pub(crate) async fn stands(&self) -> (String, String, String, String) {
        let me = self.get("auth/me/").await;
        let account = &me["data"]["user"]["account"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let subscription = &account["subscription"];
        (text(&account["status"]), text(&subscription["status"]), text(&account["plan"]["slug"]), text(&subscription["current_period_end"]))
    }

    async fn plan(&self) -> String {
        self.stands().await.2
    }

    pub(crate) fn terms(&self) -> Terms<'_> {
        Terms { grace: days(3), due_days: 7, override_max: None, outbox: self.app.state.desk().outbox() }
    }

    /// One round of the scheduler: how many accounts moved, renewals were invoiced, reminders written.
    pub(crate) async fn round(&self) -> (usize, usize, usize) {
        let (pool, now) = (self.app.pool(), self.app.now());
        let moved = end_periods(pool, days(3), now).await.unwrap();
        let invoiced = invoice_due(pool, self.terms(), days(7), now).await.unwrap();
        (moved, invoiced, remind(pool, self.terms().outbox, days(3), now).await.unwrap())
    }

    /// Kinds and subjects of the mails about the period's end, oldest first.
    async fn told(&self) -> Vec<String> {
        let query = "select subject from mail_outbox where kind = 'renewal_reminder' order by mail_id";
        sqlx::query_scalar(query).fetch_all(self.app.pool()).await.unwrap()
    }

    async fn invoice(&self) -> Value {
        self.get("billing/invoices/").await["results"][0].clone()
    }

    async fn edit_plan(&self, plan: &str, mut edit: Value) -> Value {
        edit["reason"] = json!("new terms");
        self.by_staff(Method::PATCH, &format!("plans/{plan}/"), edit).await.expect(200).data().clone()
    }

    async fn site(&self, name: &str) -> i64 {
        self.post("auth/sites/", json!({"name": name})).await.expect(201).data()["id"].as_i64().unwrap()
    }

    /// Which sites are frozen, the oldest first.
    async fn frozen(&self) -> Vec<bool> {
        let sites = self.get("auth/sites/").await;
        sites["results"].as_array().unwrap().iter().map(|site| site["is_frozen"].as_bool().unwrap()).collect()
    }
}

#[tokio::test]
async fn an_edit_of_a_plan_is_a_new_version_and_who_has_the_plan_keeps_his_terms_and_renews_at_them() {
    let story = Story::paid("starter", "89.00").await;
    let before = story.get("auth/me/").await["data"]["user"]["account"]["plan"].clone();

    let edited = story.edit_plan("starter", json!({"price": "99.00", "credits_per_month": 500, "max_sites": 7})).await;
    let after = story.get("auth/me/").await["data"]["user"]["account"]["plan"].clone();
    let on_offer = story.get("auth/plans/starter/").await["data"].clone();
    story.app.advance(DAY * 24);
    let (_, invoiced, _) = story.round().await;
    let renewal = story.invoice().await;
    let named = story.pay("BT-2", "89.00", json!({"plan_slug": "starter"})).await.expect(200);
    let ben = story.app.register("ben@example.com").await;
    let of_ben =
        story.app.post("/api/v1/account/upgrade/").bearer(&ben.access).json(json!({"plan_slug": "starter"})).send().await.expect(201);

    assert_eq!((&before, &before["max_sites"]), (&after, &json!(1)), "nothing of his changes, the plan's id included");
    assert_eq!((&on_offer["id"], &on_offer["price"], &on_offer["max_sites"]), (&before["id"], &json!("99.00"), &json!(7)));
    assert_eq!((&edited["version"], invoiced, &renewal["amount"]), (&json!(2), 1, &json!("89.00")));
    assert_eq!(named.data()["transaction"]["amount"], json!(1000), "his own credits, not the new figure");
    assert_eq!(of_ben.data()["amount"], "99.00");
    story.app.verify().await;
}

#[tokio::test]
async fn a_developer_sees_every_version_of_a_plan_and_a_name_or_a_switch_makes_none() {
    let story = Story::begin().await;

    story.edit_plan("growth", json!({"name": "Growth Plan"})).await;
    story.edit_plan("growth", json!({"price": "149.00"})).await;
    story.edit_plan("growth", json!({"price": "159.00", "is_active": false})).await;
    let versions = story.by_staff(Method::GET, "plans/growth/versions/", json!({})).await.expect(200).body;
    let list = story.by_staff(Method::GET, "plans/", json!({})).await.expect(200).body;

    let told = versions["results"].as_array().unwrap().iter();
    let told = told.map(|plan| (plan["version"].as_i64().unwrap(), plan["price"].as_str().unwrap(), plan["superseded_at"].is_null()));
    assert_eq!(told.collect::<Vec<_>>(), [(3, "159.00", true), (2, "149.00", false), (1, "139.00", false)]);
    assert!(versions["results"].as_array().unwrap().iter().all(|plan| plan["name"] == "Growth Plan" && plan["is_active"] == false));
    assert_eq!((&list["count"], &list["results"][3]["slug"]), (&json!(6), &json!("growth")), "each plan once, in its old place");
    story.by_staff(Method::GET, "plans/gold/versions/", json!({})).await.expect_code(404, "not_found");
}

#[tokio::test]
async fn a_smaller_plan_begins_at_the_end_of_what_is_paid_to_the_microsecond_before_anybody_records_it() {
    let story = Story::paid("growth", "139.00").await;

    let asked = story.downgrade("starter").await.expect(200).data().clone();
    let again = story.downgrade("starter").await.expect(200).data().clone();
    story.app.advance(DAY * 30 - MICRO);
    let before = story.plan().await;
    story.app.advance(MICRO);
    let after = story.plan().await;
    let recorded = (story.round().await.0, story.round().await.0);

    assert_eq!(
        (&asked["takes_effect_at"], &asked["plan"]["slug"], &asked["dry_run"]),
        (&json!("2026-03-31T00:00:00Z"), &json!("starter"), &json!(false))
    );
    assert_eq!(asked, again);
    assert_eq!(story.app.count("select count(*) from audit_log where action = 'subscription.downgrade_asked'").await, 1);
    assert_eq!((before.as_str(), after.as_str(), recorded), ("growth", "starter", (1, 0)));
    assert_eq!(story.app.count("select count(*) from audit_log where action = 'account.downgraded'").await, 1);
    assert_eq!(story.invoice().await["amount"], "89.00", "the renewal is for the smaller plan");
    let paid = story.pay("BT-2", "89.00", json!({})).await.expect(200);
    assert_eq!(paid.data()["subscription"]["current_period_start"], "2026-03-31T00:00:00Z");
    assert_eq!(story.plan().await, "starter");
    story.app.verify().await;
}

#[tokio::test]
async fn a_smaller_plan_that_is_paid_early_still_waits_and_burns_no_day_of_the_larger_one() {
    let story = Story::paid("growth", "139.00").await;
    story.downgrade("starter").await.expect(200);
    story.app.advance(DAY * 23);
    let invoiced = story.round().await.1;

    let paid = story.pay("BT-2", "89.00", json!({})).await.expect(200);
    let now = story.plan().await;
    let cancel = story.call(Method::DELETE, "account/downgrade/", json!({})).await;
    let other = story.downgrade("starter").await;
    let ahead = story.pay("BT-3", "89.00", json!({})).await.expect(200);
    story.app.advance(DAY * 7 - MICRO);
    let last = story.plan().await;
    story.app.advance(MICRO);
    let first = story.plan().await;
    let recorded = (story.round().await.0, story.round().await.0);

    assert_eq!((invoiced, &paid.data()["invoice"]["purpose"]), (1, &json!("renewal")));
    assert_eq!((&paid.data()["account"]["plan"]["slug"], paid.data()["changes"].get("account.plan")), (&json!("growth"), None));
    cancel.expect_code(409, "downgrade_paid");
    other.expect_code(409, "downgrade_paid");
    assert_eq!(ahead.data()["subscription"]["current_period_end"], "2026-05-30T00:00:00Z", "two months of the smaller plan");
    assert_eq!((now.as_str(), last.as_str(), first.as_str(), recorded), ("growth", "growth", "starter", (1, 0)));
    story.app.verify().await;
}

#[tokio::test]
async fn a_payment_without_a_plans_name_is_for_the_smaller_plan_that_was_asked_for_in_its_own_version() {
    let story = Story::paid("growth", "139.00").await;
    story.downgrade("starter").await.expect(200);
    story.edit_plan("starter", json!({"price": "99.00"})).await;

    let paid = story.pay("BT-2", "89.00", json!({})).await.expect(200);

    assert_eq!((&paid.data()["invoice"]["plan_slug"], &paid.data()["invoice"]["purpose"]), (&json!("starter"), &json!("renewal")));
    assert_eq!(paid.data()["subscription"]["current_period_start"], "2026-03-31T00:00:00Z");
    assert_eq!(story.plan().await, "growth");
    story.app.verify().await;
}

#[tokio::test]
async fn a_larger_plan_that_is_paid_or_a_cancellation_forgets_the_smaller_one() {
    let story = Story::paid("growth", "139.00").await;
    story.downgrade("starter").await.expect(200);
    story.pay("BT-2", "139.00", json!({"plan_slug": "growth"})).await.expect(200);
    story.app.advance(DAY * 31);
    let renewed = (story.plan().await, story.get("account/subscription/").await["data"]["next_plan"].clone());
    story.downgrade("starter").await.expect(200);
    story.pay("BT-3", "229.00", json!({"plan_slug": "scale"})).await.expect(200);
    story.app.advance(DAY * 29);
    let upgraded = story.plan().await;
    story.downgrade("growth").await.expect(200);
    story.post("account/cancel/", json!({})).await.expect(200);
    story.app.advance(DAY * 9);

    assert_eq!((renewed, upgraded.as_str(), story.plan().await.as_str()), (("growth".to_owned(), Value::Null), "scale", "scale"));
    story.app.verify().await;
}

#[tokio::test]
async fn a_smaller_plan_can_be_taken_back_until_it_begins_and_the_invoice_follows() {
    let story = Story::paid("growth", "139.00").await;
    story.app.advance(DAY * 25);
    story.round().await;
    let own = story.invoice().await;

    story.downgrade("starter").await.expect(200);
    story.round().await;
    let smaller = story.invoice().await;
    let coming = story.get("account/subscription/").await["data"]["next_plan"].clone();
    let staying = story.call(Method::DELETE, "account/downgrade/", json!({})).await.expect(200);
    story.round().await;
    let again = story.invoice().await;

    assert_eq!((&own["amount"], &smaller["amount"], &again["amount"]), (&json!("139.00"), &json!("89.00"), &json!("139.00")));
    assert_eq!(coming, json!({"plan_slug": "starter", "starts_at": "2026-03-31T00:00:00Z"}));
    assert_eq!(staying.data()["plan"]["slug"], "growth");
    story.call(Method::DELETE, "account/downgrade/", json!({})).await.expect_code(409, "no_downgrade_pending");
    assert_eq!(story.app.count("select count(*) from invoices where status = 'void'").await, 2);
    story.app.verify().await;
}

#[tokio::test]
async fn only_a_smaller_paid_plan_can_follow_a_paid_period() {
    let trial = Story::begin().await;
    trial.downgrade("starter").await.expect_code(409, "no_paid_period");
    let story = Story::paid("growth", "139.00").await;

    story.downgrade("scale").await.expect_code(422, "not_a_smaller_plan");
    story.downgrade("growth").await.expect_code(422, "not_a_smaller_plan");
    story.downgrade("free").await.expect_code(422, "plan_not_payable");
    story.downgrade("enterprise").await.expect_code(403, "enterprise_requires_manual_assignment");
    story.downgrade("gold").await.expect(400);
    story.app.advance(DAY * 33);
    story.downgrade("starter").await.expect_code(409, "no_paid_period");

    assert_eq!(story.app.count("select count(*) from subscriptions where next_plan_id is not null").await, 0);
}

#[tokio::test]
async fn a_preview_tells_what_exceeds_the_smaller_plan_and_writes_nothing() {
    let story = Story::paid("growth", "139.00").await;
    let sites = [story.site("One").await, story.site("Two").await, story.site("Three").await];

    let preview = story.post("account/downgrade/", json!({"plan_slug": "starter", "dry_run": true})).await.expect(200);

    let frozen = json!([{"id": sites[1], "name": "Two"}, {"id": sites[2], "name": "Three"}]);
    assert_eq!(preview.data()["exceeds"], json!({"sites": frozen, "users": [], "sectors": []}));
    assert_eq!((&preview.data()["dry_run"], preview.body["message"].as_str().unwrap().contains("2 site(s)")), (&json!(true), true));
    assert_eq!(story.app.count("select count(*) from subscriptions where next_plan_id is not null").await, 0);
    assert_eq!(story.app.count("select count(*) from audit_log where action like 'subscription%'").await, 0);
}

#[tokio::test]
async fn the_newest_sites_beyond_the_plan_are_frozen_readable_and_thaw_with_a_larger_one() {
    let story = Story::paid("growth", "139.00").await;
    let sites = [story.site("One").await, story.site("Two").await, story.site("Three").await];
    let key =
        story.post(&format!("auth/sites/{}/api-key/", sites[2]), json!({})).await.expect(201).data()["key"].as_str().unwrap().to_owned();
    story.downgrade("starter").await.expect(200);
    let by_key = async |method: Method, path: &str| {
        let call = story.app.request(method.clone(), &format!("/api/v1/{path}")).header("x-api-key", &key);
        if method == Method::GET { call.send().await } else { call.json(json!({"operation": "clustering", "quantity": 1})).send().await }
    };

    let running = story.frozen().await;
    by_key(Method::POST, "billing/credits/deduct/").await.expect(201);
    story.app.advance(DAY * 30);
    let frozen = story.frozen().await;
    let (site, newest) = (format!("auth/sites/{}/", sites[0]), format!("auth/sites/{}/", sites[2]));

    assert_eq!((running, frozen), (vec![false; 3], vec![false, true, true]));
    story.get(&newest).await;
    by_key(Method::GET, "integration/verify-key/").await.expect(200);
    by_key(Method::POST, "billing/credits/deduct/").await.expect_code(403, "site_frozen");
    story.call(Method::PATCH, &newest, json!({"name": "X"})).await.expect_code(403, "site_frozen");
    story.post(&format!("{newest}sectors/"), json!({"name": "X"})).await.expect_code(403, "site_frozen");
    story.post(&format!("{newest}api-key/"), json!({})).await.expect_code(403, "site_frozen");
    story.call(Method::PUT, &format!("{newest}access/"), json!({"user_ids": []})).await.expect_code(403, "site_frozen");
    story.call(Method::PATCH, &site, json!({"name": "X"})).await.expect(200);
    // Room is made by deleting an older one, or by paying for a larger plan.
    story.call(Method::DELETE, &site, json!({})).await.expect(200);
    assert_eq!(story.frozen().await, [false, true]);
    // Nobody has recorded yet that the smaller plan began; it has room for no more all the same.
    story.post("auth/sites/", json!({"name": "Four"})).await.expect_code(422, "site_limit_reached");
    story.pay("BT-2", "229.00", json!({"plan_slug": "scale"})).await.expect(200);
    assert_eq!(story.frozen().await, [false, false]);
    by_key(Method::POST, "billing/credits/deduct/").await.expect(201);
    story.app.verify().await;
}

#[tokio::test]
async fn a_renewal_is_invoiced_seven_days_before_the_end_once_by_two_instances_at_once() {
    let story = Story::paid("starter", "89.00").await;
    let look = || invoice_due(story.app.pool(), story.terms(), days(7), story.app.now());

    story.app.advance(DAY * 23 - MICRO);
    let early = look().await.unwrap();
    story.app.advance(MICRO);
    let at_once = join_all((0..8).map(|_| look())).await.into_iter().map(Result::unwrap).sum::<usize>();
    let later = look().await.unwrap();

    let invoice = story.invoice().await;
    assert_eq!((early, at_once, later), (0, 1, 0));
    assert_eq!(
        (&invoice["purpose"], &invoice["amount"], &invoice["due_at"]),
        (&json!("renewal"), &json!("89.00"), &json!("2026-03-31T00:00:00Z"))
    );
    assert_eq!(story.app.count("select count(*) from mail_outbox where kind = 'renewal_invoiced'").await, 1);
    let paid = story.pay("BT-2", "89.00", json!({})).await.expect(200);
    assert_eq!(paid.data()["subscription"]["current_period_start"], "2026-03-31T00:00:00Z");
    assert_eq!(look().await.unwrap(), 0, "the next one is due seven days before the new end");
    story.app.advance(DAY * 30);
    assert_eq!(look().await.unwrap(), 1);
    story.app.verify().await;
}

#[tokio::test]
async fn no_renewal_is_invoiced_of_what_ends_for_good_is_on_trial_or_costs_nothing() {
    let trial = Story::begin().await;
    trial.app.advance(DAY * 13);
    assert_eq!(trial.round().await.1, 0);
    let story = Story::paid("starter", "89.00").await;
    story.post("account/cancel/", json!({"at_period_end": true})).await.expect(200);
    story.app.advance(DAY * 25);
    assert_eq!(story.round().await.1, 0);
    story.post("account/resume/", json!({})).await.expect(200);
    assert_eq!(story.round().await.1, 1);

    let by_hand = Story::begin().await;
    let path = format!("accounts/{}/plan/", by_hand.ana.account_id);
    by_hand.by_staff(Method::POST, &path, json!({"plan_slug": "enterprise", "reason": "a friend"})).await.expect(200);
    by_hand.app.advance(DAY * 29);
    assert_eq!(by_hand.round().await.1, 0);
}

#[tokio::test]
async fn a_paid_period_is_reminded_of_four_times_each_once_by_two_instances() {
    let story = Story::paid("starter", "89.00").await;
    let look = async || {
        let (pool, outbox, now) = (story.app.pool(), story.terms().outbox, story.app.now());
        let both = join_all((0..4).map(|_| remind(pool, outbox, days(3), now))).await;
        both.into_iter().map(Result::unwrap).sum::<usize>()
    };

    story.app.advance(DAY * 23);
    story.round().await;
    story.app.advance(DAY * 4 - MICRO);
    let mut told = vec![look().await];
    for step in [MICRO, DAY * 2, DAY, DAY, DAY * 2] {
        story.app.advance(step);
        end_periods(story.app.pool(), days(3), story.app.now()).await.unwrap();
        told.push(look().await);
        assert_eq!(look().await, 0, "once each");
    }

    assert_eq!(told, [0, 1, 1, 0, 1, 1]);
    assert_eq!(story.told().await, ["Starter ends in 3 days", "Starter ends today", "Starter is over and not paid", "Starter is over"]);
    assert_eq!(story.app.count("select count(*) from renewal_reminders").await, 4);
}

#[tokio::test]
async fn after_ten_days_of_downtime_everything_is_done_once_and_nothing_stale_is_sent() {
    let story = Story::paid("starter", "89.00").await;
    let ben = story.app.register("ben@example.com").await;

    // Away from the 25th day to the 35th: the period ended, and the grace with it. Ben's trial ended on the 14th.
    story.app.advance(DAY * 35);
    let (first, second) = (story.round().await, story.round().await);
    let late = story.told().await;
    story.app.advance(DAY * 10);
    let third = story.round().await;

    assert_eq!((first, second, third), ((2, 0, 1), (0, 0, 0), (0, 0, 0)));
    assert_eq!(
        late,
        ["Starter is over"],
        "neither the three days nor the last one are told of any more, nor Ben's trial after three weeks"
    );
    let status = sqlx::query_scalar::<_, String>("select status from accounts where account_id = $1").bind(ben.account_id);
    assert_eq!(status.fetch_one(story.app.pool()).await.unwrap(), "suspended");
    story.app.verify().await;
}

#[tokio::test]
async fn the_scheduler_passes_over_an_account_that_somebody_holds_and_does_the_others_at_once() {
    let story = Story::paid("starter", "89.00").await;
    for name in ["ben", "cleo", "dana"] {
        story.app.register(&format!("{name}@example.com")).await;
    }
    story.app.advance(DAY * 24);
    let mut somebody = sqlx::PgConnection::connect_with(&story.app.database().connect_options()).await.unwrap();
    sqlx::query("begin").execute(&mut somebody).await.unwrap();
    let lock = "select account_id from accounts where account_id in (select account_id from users where email in ('ana@example.com', 'ben@example.com')) for update";
    sqlx::query(lock).execute(&mut somebody).await.unwrap();

    let beside = story.round().await;
    sqlx::query("rollback").execute(&mut somebody).await.unwrap();
    let after = story.round().await;

    assert_eq!((beside, after), ((2, 0, 0), (1, 1, 0)));
    story.app.verify().await;
}

#[tokio::test]
async fn two_instances_that_catch_up_at_once_do_each_due_thing_once() {
    let story = Story::begin().await;
    for number in 0..12 {
        story.app.register(&format!("customer{number}@example.com")).await;
    }
    story.app.advance(DAY * 20);

    let rounds = join_all((0..2).map(|_| story.round())).await;
    let rest = story.round().await;

    let sum = rounds.iter().chain([&rest]).fold((0, 0, 0), |sum, round| (sum.0 + round.0, sum.1 + round.1, sum.2 + round.2));
    assert_eq!(sum, (13, 0, 13));
    assert_eq!(story.app.count("select count(*) from audit_log where action = 'account.status_changed'").await, 13);
    assert_eq!(story.app.count("select count(*) from mail_outbox where kind = 'renewal_reminder'").await, 13);
    story.app.verify().await;
}

#[tokio::test]
async fn a_trial_is_reminded_of_and_what_is_renewed_cancelled_or_system_is_not() {
    let story = Story::begin().await;
    story.app.advance(DAY * 11);
    let soon = story.round().await.2;
    story.app.advance(DAY * 2);
    let last_day = story.round().await.2;
    story.app.advance(DAY);
    let ended = story.round();
    assert_eq!((soon, last_day, ended.await), (1, 1, (1, 0, 1)));
    assert_eq!(story.told().await, ["Free Trial ends in 3 days", "Free Trial ends today", "Free Trial is over"]);

    let renewed = Story::paid("starter", "89.00").await;
    renewed.pay("BT-2", "89.00", json!({})).await.expect(200);
    renewed.app.advance(DAY * 29);
    assert_eq!(renewed.round().await, (0, 0, 0));
    let leaving = Story::paid("starter", "89.00").await;
    leaving.post("account/cancel/", json!({"at_period_end": true})).await.expect(200);
    leaving.app.advance(DAY * 29);
    assert_eq!(leaving.round().await, (0, 0, 0));
}

#[tokio::test]
async fn every_period_is_explained_by_its_payment_its_invoice_and_its_rule() {
    let story = Story::begin().await;
    story.app.advance(DAY * 5);
    story.pay("BT-1", "89.00", json!({"plan_slug": "starter"})).await.expect(200);
    story.app.advance(DAY * 10);
    story.pay("BT-2", "89.00", json!({})).await.expect(200);
    story.app.advance(DAY * 60);
    story.round().await;
    story.pay("BT-3", "89.00", json!({})).await.expect(200);
    story.app.advance(DAY);
    story.by_staff(Method::POST, "transfers/BT-3/reverse/", json!({"reason": "recalled"})).await.expect(200);
    story.app.advance(DAY);
    story
        .by_staff(
            Method::POST,
            &format!("accounts/{}/plan/", story.ana.account_id),
            json!({"plan_slug": "enterprise", "reason": "a friend"}),
        )
        .await
        .expect(200);
    story.app.advance(DAY);
    story.post("account/cancel/", json!({})).await.expect(200);

    let all = story.get("account/subscription/explain/").await;
    let page = story.get("account/subscription/explain/?page=2&page_size=2").await;

    let rules = |list: &Value| {
        let told = |period: &Value| ["start_rule", "end_rule"].map(|field| period[field].as_str().unwrap().to_owned()).join(" ");
        list["results"].as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(rules(&all), ["by_hand cancelled", "B2 reversal", "B3 length", "B2 length", "B1 replaced"]);
    assert_eq!((rules(&page), &page["count"]), (vec!["B3 length".to_owned(), "B2 length".to_owned()], &json!(5)));
    let renewal = &all["results"][2];
    assert_eq!(
        (&renewal["starts_at"], &renewal["ends_at"], &renewal["lapse"]),
        (&json!("2026-04-05T00:00:00Z"), &json!("2026-05-05T00:00:00Z"), &Value::Null)
    );
    assert_eq!(renewal["starts_because"], "Payment BT-2 was confirmed at 2026-03-16T00:00:00Z; the period joins the one before (B3).");
    assert_eq!(renewal["ends_because"], "30 days of 86,400 seconds after its start.");
    assert_eq!(renewal["paid_by"]["external_payment_id"], "BT-2");
    assert!(renewal["paid_by"]["invoice_number"].as_str().unwrap().starts_with("INV-"));
    assert_eq!(all["results"][1]["lapse"], json!({"from": "2026-05-05T00:00:00Z", "until": "2026-05-15T00:00:00Z"}));
    story.app.verify().await;
}

/// Where each period of a story begins and ends, in seconds since 1970, and the same story in a database of a zone.
const EDGES: [(i64, i64); 5] = [
    (1_772_323_200, 1_772_755_200),
    (1_772_755_200, 1_775_347_200),
    (1_775_347_200, 1_777_939_200),
    (1_777_939_200, 1_780_531_200),
    (1_795_219_200, 1_797_811_200),
];

/// A trial, a payment, two renewals, a lapse and a return, across both changes of New York's clocks (2026-03-08, 2026-11-01).
async fn edges_in(zone: &'static str) -> Vec<(i64, i64)> {
    let database = crate::support::TestDatabase::new().await;
    let mut by_hand = sqlx::PgConnection::connect(database.url()).await.unwrap();
    let statement = format!("do $$ begin execute format('alter database %I set timezone = %L', current_database(), '{zone}'); end $$");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut by_hand).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("set time zone '{zone}'"))).execute(&mut by_hand).await.unwrap();
    let url = database.url().to_owned();
    let app = TestApp::connected(database, url, |config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    app.operator().await;
    let story = Story { app, ana };
    for (reference, wait) in [("BT-1", 5), ("BT-2", 20), ("BT-3", 20), ("BT-4", 220)] {
        story.app.advance(DAY * wait);
        story.round().await;
        story.pay(reference, "89.00", json!({"plan_slug": "starter"})).await.expect(200);
    }
    story.app.verify().await;
    let overlap = sqlx::query(
        "insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, created_at)
         select account_id, 99, plan_id, 'manual', 0, 0, ends_at - interval '1 microsecond', ends_at, ends_at, created_at
         from subscription_periods where account_id = $1 and period_seq = 5",
    );
    let refused = overlap.bind(story.ana.account_id).execute(&mut by_hand).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "23P01", "B4, whatever the session's zone");
    let query = "select extract(epoch from starts_at)::bigint, extract(epoch from ends_at)::bigint from subscription_periods where account_id = $1 order by period_seq";
    sqlx::query_as(query).bind(story.ana.account_id).fetch_all(&mut by_hand).await.unwrap()
}

#[tokio::test]
async fn a_database_in_any_time_zone_keeps_the_same_instants() {
    for zone in ["UTC", "Asia/Karachi", "America/New_York"] {
        assert_eq!(edges_in(zone).await, EDGES, "{zone}");
    }
}

#[tokio::test]
async fn a_process_in_any_time_zone_reckons_the_same_instants() {
    for zone in ["Asia/Karachi", "America/New_York"] {
        // This very program again, in another zone, telling the same story.
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.env("TZ", zone).args(["--exact", "subscriptions::the_dates_of_a_story_are_these_to_the_second"]);

        let done = child.output().await.unwrap();

        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && told.contains("1 passed"), "{zone}: {told}");
    }
}

#[tokio::test]
async fn the_dates_of_a_story_are_these_to_the_second() {
    assert_eq!(edges_in("UTC").await, EDGES);
}
