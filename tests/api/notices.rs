//! Mails about low credits, once per crossing; and seals, which show that no old entry was altered.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Session, TestApp};
use igny8::{
    credits::{notices::service::notify, seals::service::seal_due},
    system::{model::Law, service::verify},
};
use serde_json::json;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

async fn spend(app: &TestApp, who: &Session, credits: i64) {
    let job = json!({"operation": "content_generation", "quantity": credits * 100});
    app.post("/api/v1/billing/credits/deduct/").bearer(&who.access).json(job).send().await.expect(201);
}

/// What was told so far, oldest first.
async fn told(app: &TestApp) -> String {
    let query =
        "select coalesce(string_agg(kind || ' ' || recipient, ', ' order by mail_id), '') from mail_outbox where kind like 'credits%'";
    app.text(query.to_owned()).await
}

#[tokio::test]
async fn an_owner_is_told_once_each_time_that_credits_get_low_or_are_used_up() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let refill = json!({"amount": 500, "reason": "a present"});
    let look = async || notify(app.pool(), app.state.desk().outbox(), app.now()).await.unwrap();
    // 2,000 a month: 400 are a fifth.
    spend(&app, &ana, 1_600).await;
    let at_a_fifth = look().await;
    spend(&app, &ana, 1).await;
    let below = (look().await, look().await, told(&app).await);
    spend(&app, &ana, 399).await;
    let used_up = (look().await, look().await, told(&app).await);

    app.post(&format!("/api/v1/billing/admin/accounts/{}/credits/", ana.account_id))
        .bearer(&staff.access)
        .json(refill)
        .send()
        .await
        .expect(201);
    let refilled = look().await;
    app.advance(Duration::from_secs(1));
    spend(&app, &ana, 500).await;
    let again = look().await;

    assert_eq!(at_a_fifth, 0);
    assert_eq!(below, (1, 0, "credits_low ana@example.com".to_owned()));
    assert_eq!(used_up, (1, 0, "credits_low ana@example.com, credits_used_up ana@example.com".to_owned()));
    assert_eq!((refilled, again), (0, 1), "from full to none at once is one notice");
    assert!(told(&app).await.ends_with("credits_used_up ana@example.com, credits_used_up ana@example.com"));
    let subject = app.text("select subject from mail_outbox where kind = 'credits_low'".to_owned()).await;
    assert!(subject.ends_with("is running low on credits"), "{subject}");
}

#[tokio::test]
async fn twenty_instances_that_look_at_once_tell_once() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    for round in 1..=5_u16 {
        spend(&app, &ana, 1_990).await;
        let looks = (0..20).map(|_| {
            let (state, now) = (app.state.clone(), app.now());
            tokio::spawn(async move { notify(&state.pool, state.desk().outbox(), now).await.unwrap() })
        });
        let told_by = futures::future::join_all(looks.collect::<Vec<_>>()).await.into_iter().map(|told| told.unwrap()).sum::<usize>();

        assert_eq!(told_by, 1, "round {round}");
        assert_eq!(app.count("select count(*) from mail_outbox where kind = 'credits_low'").await, i64::from(round));
        // Given back: enough again.
        let staff = if round == 1 { app.operator().await } else { app.log_in("staff@example.com").await };
        let deduction = app.count("select max(seq) from credit_transactions where kind = 'deduction'").await;
        let path = format!("/api/v1/billing/admin/accounts/{}/transactions/{deduction}/refund/", ana.account_id);
        app.post(&path).bearer(&staff.access).json(json!({"reason": "a test"})).send().await.expect(201);
        assert_eq!(notify(app.pool(), app.state.desk().outbox(), app.now()).await.unwrap(), 0);
        app.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_seal_is_made_behind_thousands_of_accounts_that_need_none() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    app.execute(
        "with idle as (insert into accounts (name, slug, status, created_at, updated_at) \
                       select 'Idle', 'idle-' || n, 'trial', '2026-03-01', '2026-03-01' from generate_series(1, 4500) n returning account_id) \
         insert into credit_balances (account_id, plan_credits, extra_credits, last_seq) select account_id, 0, 0, 0 from idle",
    )
    .await;
    let ana = app.register("ana@example.com").await;
    for _ in 0..100 {
        spend(&app, &ana, 1).await;
    }

    assert_eq!(seal_due(app.pool(), app.now()).await.unwrap(), 1);
    assert_eq!(app.count("select max(account_id) from credit_seals").await, ana.account_id);
}

#[tokio::test]
async fn a_seal_names_the_row_that_was_altered_though_all_sums_are_right() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    for _ in 0..150 {
        spend(&app, &ana, 1).await;
    }
    let at_once = seal_due(app.pool(), app.now()).await.unwrap();
    spend(&app, &ana, 1).await;
    let too_soon = seal_due(app.pool(), app.now()).await.unwrap();
    app.advance(HOUR + Duration::from_micros(1));
    let later = futures::future::join_all((0..8).map(|_| seal_due(app.pool(), app.now()))).await;
    app.verify().await;

    for (alter, told) in [
        ("update credit_transactions set description = 'another story' where seq = 77", "row 77 was altered after it was sealed"),
        (
            "update credit_transactions set created_at = created_at - interval '1 microsecond' where seq = 78",
            "row 78 was altered after it was sealed",
        ),
        ("update credit_transactions set metadata = '{\"post\": 7}' where seq = 152", "row 152 was altered after it was sealed"),
    ] {
        app.execute("alter table credit_transactions disable trigger credit_transactions_append_only").await;
        app.execute(alter).await;

        let violations = verify(app.pool()).await.unwrap();

        let last = violations.last().unwrap();
        assert!(violations.iter().any(|violation| violation.law == Law::I2 && violation.detail == told), "{violations:?}");
        assert_eq!(last.account.map(|account| account.0), Some(ana.account_id));
    }
    assert_eq!((at_once, too_soon), (1, 0));
    assert_eq!(later.into_iter().map(|made| made.unwrap()).sum::<usize>(), 1, "of eight instances one keeps its seal");
    assert!(sqlx::query("update credit_seals set hash = hash").execute(app.pool()).await.is_err());
    assert_eq!(app.count("select count(*) from credit_seals").await, 2);
}
