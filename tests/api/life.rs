//! The whole life of an account, from trial to purge, two years long, told once: issue 5. `verify` is clean after each step.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::{subscriptions::Story, support::PASSWORD};
use axum::http::Method;
use igny8::{accounts::life::purge_deleted, sites::service::go_with_account};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

impl Story {
    /// Lets days pass, one at a time, with a round of the scheduler in each.
    async fn live(&self, days: u32) {
        for _ in 0..days {
            self.app.advance(DAY);
            self.round().await;
        }
        self.app.verify().await;
    }

    /// How account, subscription and plan stand, and until when; the laws hold.
    async fn now(&self) -> String {
        self.app.verify().await;
        let (account, subscription, plan, until) = self.stands().await;
        format!("{account} {subscription} {plan} {}", &until[..10])
    }

    async fn credits(&self) -> i64 {
        self.get("billing/credits/balance/").await["data"]["credits"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn the_whole_life_of_an_account_from_trial_to_purge() {
    let story = Story::begin().await;
    let began = story.app.now();

    // Day 0: the trial. Day 10: an upgrade is asked for and paid in two parts.
    assert_eq!(story.now().await, "trial trialing free-trial 2026-03-15");
    story.live(10).await;
    story.post("account/upgrade/", json!({"plan_slug": "growth"})).await.expect(201);
    assert_eq!(story.now().await, "pending_payment trialing free-trial 2026-03-15");
    story.pay("BT-1a", "100.00", json!({"partial": true})).await.expect(200);
    assert_eq!(story.now().await, "pending_payment trialing free-trial 2026-03-15");
    story.live(1).await;
    story.pay("BT-1b", "39.00", json!({})).await.expect(200);
    assert_eq!((story.now().await.as_str(), story.credits().await), ("active active growth 2026-04-11", 2_000));
    let sites = [story.post("auth/sites/", json!({"name": "One"})).await, story.post("auth/sites/", json!({"name": "Two"})).await];
    assert!(sites.iter().all(|site| site.status.as_u16() == 201));

    // Renewed early, on the invoice that was written seven days before the end; then within the grace.
    story.live(25).await;
    story.pay("BT-2", "139.00", json!({})).await.expect(200);
    assert_eq!(story.now().await, "active active growth 2026-05-11");
    story.live(37).await;
    assert_eq!(story.now().await, "active past_due growth 2026-05-11");
    story.pay("BT-3", "139.00", json!({})).await.expect(200);
    assert_eq!(story.now().await, "active active growth 2026-06-10");

    // Forgotten: past due, suspended, and back after a lapse, which is recorded.
    story.live(31).await;
    assert_eq!(story.now().await, "suspended past_due growth 2026-06-10");
    story.live(20).await;
    story.pay("BT-4", "139.00", json!({})).await.expect(200);
    assert_eq!(story.now().await, "active active growth 2026-08-02");

    // A smaller plan from the end of the period; a site too many is frozen.
    story.post("account/downgrade/", json!({"plan_slug": "starter"})).await.expect(200);
    story.live(30).await;
    assert_eq!(story.now().await, "active past_due starter 2026-08-02");
    let sites = story.get("auth/sites/").await;
    let frozen = sites["results"].as_array().unwrap().iter().map(|site| site["is_frozen"].clone()).collect::<Vec<_>>();
    assert_eq!(frozen, [json!(false), json!(true)]);
    story.pay("BT-5", "89.00", json!({})).await.expect(200);
    assert_eq!((story.now().await.as_str(), story.credits().await), ("active active starter 2026-09-01", 1_000));

    // The bank recalls that transfer: what it bought ends, and its invoice is open again until it is paid anew.
    story.live(3).await;
    story.by_staff(Method::POST, "transfers/BT-5/reverse/", json!({"reason": "recalled by the bank"})).await.expect(200);
    assert_eq!(story.now().await, "suspended past_due starter 2026-08-05");
    story.live(1).await;
    story.pay("BT-6", "89.00", json!({})).await.expect(200);
    assert_eq!(story.now().await, "active active starter 2026-09-05");

    // Prices rise; he keeps his. A year passes, paid month by month.
    let dearer = json!({"price": "119.00", "reason": "a new year"});
    story.by_staff(Method::PATCH, "plans/starter/", dearer).await.expect(200);
    for month in 0..15 {
        story.live(29).await;
        story.pay(&format!("BT-M{month}"), "89.00", json!({})).await.expect(200);
        story.live(1).await;
    }
    assert_eq!(story.now().await, "active active starter 2027-11-29");

    // Cancelled at the period's end, taken back, cancelled again, and over.
    story.post("account/cancel/", json!({"at_period_end": true})).await.expect(200);
    story.post("account/resume/", json!({})).await.expect(200);
    story.post("account/cancel/", json!({"at_period_end": true})).await.expect(200);
    story.live(32).await;
    assert_eq!(story.now().await, "cancelled canceled starter 2027-11-29");
    story.live(61).await;
    story.pay("BT-7", "89.00", json!({"plan_slug": "starter"})).await.expect(200);
    story.live(5).await;
    story.post("account/cancel/", json!({})).await.expect(200);
    assert!(story.now().await.starts_with("cancelled canceled starter"));

    // Deleted, restored, deleted again and purged; what is left is its money, without a name.
    story.call(Method::DELETE, "account/", json!({})).await.expect(200);
    story.live(10).await;
    let restore = json!({"email": story.ana.email, "password": PASSWORD});
    story.app.post("/api/v1/account/restore/").json(restore).send().await.expect(200);
    assert!(story.now().await.starts_with("cancelled canceled starter"));
    let told = story.get("account/subscription/explain/?page_size=100").await;
    story.call(Method::DELETE, "account/", json!({})).await.expect(200);
    story.live(13).await;
    let too_early = purge_deleted(story.app.pool(), go_with_account, story.app.now()).await.unwrap();
    story.live(1).await;
    let purged = purge_deleted(story.app.pool(), go_with_account, story.app.now()).await.unwrap();
    story.app.verify().await;

    assert_eq!((too_early, purged), (0, 1));
    assert!((story.app.now() - began).num_days() >= 700, "two years: {}", (story.app.now() - began).num_days());
    let lapses = told["results"].as_array().unwrap().iter().filter(|period| period["lapse"] != Value::Null).count();
    assert_eq!((&told["count"], lapses), (&json!(23), 3));
    assert_eq!(story.app.count("select count(*) from users where email like '%ana%'").await, 0);
    assert_eq!(story.app.count("select count(*) from payments where status = 'confirmed'").await, 22);
    assert_eq!(story.app.count("select count(*) from accounts where purged_at is not null and name = 'Deleted account'").await, 1);
}
