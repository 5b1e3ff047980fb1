//! Clients that hang up, a pool that has nothing left to give, and more spends than can wait.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Call, TestApp};
use futures::{StreamExt as _, stream};
use serde_json::json;
use std::time::Duration;

const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const SITES: &str = "/api/v1/auth/sites/";
/// Mutations of each kind whose client hangs up.
const HANG_UPS: u64 = 150;
/// Clients at once.
const CLIENTS: usize = 16;
/// Milliseconds after which the most patient client has gone.
const PATIENCE_MILLIS: u64 = 20;

/// Sends and goes away; whether the answer was waited for.
async fn hang_up(call: Call, after: Duration) -> bool {
    // Dropping the future is what the server does when the connection breaks.
    tokio::time::timeout(after, call.send()).await.is_ok()
}

/// Waits until everything that was begun has ended.
async fn settled(app: &TestApp) {
    for _ in 0..500 {
        if app.state.tasks.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} requests never ended", app.state.tasks.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_leaves_one_whole_effect_or_none() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    app.execute("update plans set max_sites = 1000 where slug = 'free-trial'").await;
    let ana = app.register("ana@example.com").await;
    let calls = (0..HANG_UPS).flat_map(|n| {
        let spend = app.post(DEDUCT).bearer(&ana.access).header("idempotency-key", &format!("job-{n}"));
        let spend = spend.json(json!({"operation": "clustering", "quantity": 1, "reference": format!("job-{n}")}));
        let site = app.post(SITES).bearer(&ana.access).json(json!({"name": format!("Site {n}")}));
        let after = |step: u64| Duration::from_millis((n * 7 + step) % (PATIENCE_MILLIS + 1));
        [(spend, after(0)), (site, after(3))]
    });

    let waited = stream::iter(calls).map(|(call, after)| tokio::spawn(hang_up(call, after))).buffer_unordered(CLIENTS);
    let waited = waited.filter(|answered| std::future::ready(*answered.as_ref().unwrap())).count().await;
    settled(&app).await;

    assert!(waited < usize::try_from(2 * HANG_UPS).unwrap(), "nobody hung up");
    let twice =
        "select count(*) from (select 1 from credit_transactions where kind = 'deduction' group by reference having count(*) > 1) t";
    assert_eq!(app.count(twice).await, 0);
    let spent = app.count("select count(*) from credit_transactions where kind = 'deduction'").await;
    assert_eq!(app.count("select plan_credits from credit_balances").await, 2_000 - 10 * spent);
    let sites = app.count("select count(*) from sites").await;
    assert_eq!(app.count("select count(*) from audit_log where action = 'site.created'").await, sites);
    assert!(spent > 0 && sites > 0, "{spent} {sites}");
    let open = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'";
    assert_eq!(app.count(open).await, 0);
    app.verify().await;
    // Sent again with patience, each has its one effect.
    for n in 0..HANG_UPS {
        let spend = app.post(DEDUCT).bearer(&ana.access).header("idempotency-key", &format!("job-{n}"));
        spend.json(json!({"operation": "clustering", "quantity": 1, "reference": format!("job-{n}")})).send().await.expect(201);
    }
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'deduction'").await, i64::try_from(HANG_UPS).unwrap());
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_pool_is_answered_with_503_and_recovers_by_itself() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let mut held = Vec::new();
    for _ in 0..app.state.config.database_pool_size {
        held.push(app.pool().acquire().await.unwrap());
    }

    let (read, write, sign_in, ready, alive, status) = tokio::join!(
        app.get(SITES).bearer(&ana.access).send(),
        app.post(SITES).bearer(&ana.access).json(json!({"name": "Blog"})).send(),
        app.post("/api/v1/auth/login/").json(json!({"email": "ana@example.com", "password": "correct horse battery"})).send(),
        app.get("/readyz").send(),
        app.get("/healthz").send(),
        app.get("/api/v1/system/status/").send(),
    );
    drop(held);
    let after = app.get(SITES).bearer(&ana.access).send().await;

    for reply in [read, write, sign_in, ready] {
        let reply = reply.expect(503);
        assert_eq!(reply.header("retry-after"), "1", "{}", reply.text);
        assert_eq!(reply.body["success"], false, "{}", reply.text);
    }
    alive.expect(200);
    assert_eq!(status.expect(200).data()["status"], "degraded");
    after.expect(200);
    app.get("/readyz").send().await.expect(200);
    app.post(SITES).bearer(&ana.access).json(json!({"name": "Blog"})).send().await.expect(201);
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spends_for_which_the_queue_has_no_room_are_sent_away_at_once_and_have_no_effect() {
    /// Of a batch that is under way, which may be smaller, and of those that wait behind it.
    const BATCH: usize = 256;
    const QUEUE: usize = 900;
    const TOO_MANY: usize = 200;
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    let spend = || app.post(DEDUCT).bearer(&ana.access).json(json!({"operation": "content_generation", "quantity": 100})).send();
    spend().await.expect(201);

    // The first batch waits for somebody else's lock, and the others for the first batch.
    let mut blocker = app.database().pool().acquire().await.unwrap();
    sqlx::raw_sql("begin; select from credit_balances for update").execute(&mut *blocker).await.unwrap();
    let spends = (0..BATCH + QUEUE + TOO_MANY).map(|_| tokio::spawn(spend())).collect::<Vec<_>>();
    while spends.iter().filter(|spend| spend.is_finished()).count() < TOO_MANY {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("rollback").execute(&mut *blocker).await.unwrap();

    let (mut done, mut sent_away) = (0, 0);
    for spend in spends {
        let reply = spend.await.unwrap();
        match reply.status.as_u16() {
            201 => done += 1,
            503 => {
                assert_eq!(reply.header("retry-after"), "1", "{}", reply.text);
                sent_away += 1;
            }
            other => panic!("{other}: {}", reply.text),
        }
    }
    assert!((TOO_MANY..TOO_MANY + BATCH).contains(&sent_away), "{done} done, {sent_away} sent away");
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'deduction'").await, done + 1);
    app.verify().await;
}
