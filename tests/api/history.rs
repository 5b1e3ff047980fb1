//! What the ledger tells of the past: use, pace, statement, the balance of any moment, and how today's came about.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Session, TestApp};
use axum::body::BodyDataStream;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

const CREDITS: &str = "/api/v1/billing/credits";
const DAY: Duration = Duration::from_secs(86_400);
/// Entries of a long ledger.
const MANY: usize = 200_000;

async fn read(app: &TestApp, who: &Session, path: &str) -> Value {
    app.get(&format!("{CREDITS}/{path}")).bearer(&who.access).send().await.expect(200).data().clone()
}

/// Spends so many credits on words, and so many on images.
async fn spend(app: &TestApp, who: &Session, words: i64, images: i64) {
    for (operation, quantity) in [("content_generation", words * 100), ("image_generation", images / 5)] {
        if quantity > 0 {
            let job = json!({"operation": operation, "quantity": quantity});
            app.post(&format!("{CREDITS}/deduct/")).bearer(&who.access).json(job).send().await.expect(201);
        }
    }
}

/// Signs in again, for tokens end with the hour.
async fn pass(app: &TestApp, who: &Session, time: Duration) -> Session {
    app.advance(time);
    app.log_in(&who.email).await
}

/// Puts many entries behind those that there are: one credit each, a second apart, from the instant on.
async fn make_long(app: &TestApp, account: i64, entries: usize, from: &str) {
    // In pieces: a statement may take five seconds, however busy the machine is.
    const PIECE: usize = 10_000;
    for made in (0..entries).step_by(PIECE) {
        let more = PIECE.min(entries - made);
        app.run(format!(
            "insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                                              description, actor, created_at)
             select {account}, b.last_seq + n, 'deduction', -1, 0, b.plan_credits - n, 0, 'content_generation', 100, 1, 'row ' || {made} + n, 'user:1',
                    timestamptz '{from}' + ({made} + n) * interval '1 second'
             from credit_balances b, generate_series(1, {more}) n where b.account_id = {account};
             update credit_balances set plan_credits = plan_credits - {more}, last_seq = last_seq + {more} where account_id = {account};"
        ))
        .await;
    }
}

/// Gives an account so many plan credits, past the rules.
async fn endow(app: &TestApp, account: i64, credits: usize) {
    let now = app.now().to_rfc3339();
    app.run(format!(
        "insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, actor, created_at)
         select account_id, last_seq + 1, 'adjustment', {credits}, 0, plan_credits + {credits}, 0, 'a test', 'user:1', '{now}'
         from credit_balances where account_id = {account};
         update credit_balances set plan_credits = plan_credits + {credits}, last_seq = last_seq + 1 where account_id = {account};"
    ))
    .await;
}

#[tokio::test]
async fn use_is_told_per_operation_and_day_of_utc_and_days_without_use_are_in_the_summary() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    spend(&app, &ana, 3, 10).await;
    // To the last microsecond of the first day, and the first one of the second.
    let ana = pass(&app, &ana, DAY - Duration::from_micros(1)).await;
    spend(&app, &ana, 4, 0).await;
    let ana = pass(&app, &ana, Duration::from_micros(1)).await;
    spend(&app, &ana, 5, 0).await;
    let ana = pass(&app, &ana, 2 * DAY).await;
    spend(&app, &ana, 0, 20).await;

    let rows = read(&app, &ana, "usage/?from=2026-03-01&to=2026-03-04").await;
    let summary = read(&app, &ana, "usage/summary/?from=2026-03-01&to=2026-03-04").await;
    let first_day = read(&app, &ana, "usage/summary/?from=2026-03-01&to=2026-03-01").await;
    let usual = read(&app, &ana, "usage/summary/").await;

    let row = |day: &str, operation: &str, runs: i64, quantity: i64, credits: i64| json!({"day": day, "operation": operation, "runs": runs, "quantity": quantity, "credits": credits});
    let expected = [
        row("2026-03-01", "content_generation", 2, 700, 7),
        row("2026-03-01", "image_generation", 1, 2, 10),
        row("2026-03-02", "content_generation", 1, 500, 5),
        row("2026-03-04", "image_generation", 1, 4, 20),
    ];
    assert_eq!(rows, json!({"from": "2026-03-01", "to": "2026-03-04", "rows": expected}));
    let of_days = summary["by_day"].as_array().unwrap().iter().map(|day| (day["runs"].as_i64().unwrap(), day["credits"].as_i64().unwrap()));
    assert_eq!(of_days.collect::<Vec<_>>(), [(3, 17), (1, 5), (0, 0), (1, 20)]);
    assert_eq!((summary["credits"].as_i64(), summary["runs"].as_i64(), summary["refunded"].as_i64()), (Some(42), Some(5), Some(0)));
    assert_eq!(summary["by_operation"].as_array().unwrap().len(), 5);
    assert_eq!(summary["by_operation"][0], json!({"operation": "clustering", "runs": 0, "quantity": 0, "credits": 0}));
    assert_eq!(first_day["credits"], 17);
    assert_eq!((usual["by_day"].as_array().unwrap().len(), usual["to"].as_str()), (30, Some("2026-03-04")));
    for wrong in ["usage/?from=2026-03-02&to=2026-03-01", "usage/summary/?from=2024-03-01&to=2026-03-01", "usage/?from=yesterday"] {
        app.get(&format!("{CREDITS}/{wrong}")).bearer(&ana.access).send().await.expect_code(400, "invalid_input");
    }
}

#[tokio::test]
async fn the_burn_down_tells_the_day_on_which_credits_run_out_and_whether_the_reset_comes_first() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let unspent = read(&app, &ana, "burndown/").await;
    let ana = pass(&app, &ana, 4 * DAY).await;
    spend(&app, &ana, 1_000, 0).await;

    let told = read(&app, &ana, "burndown/?days=10").await;
    let of_one_day = read(&app, &ana, "burndown/?days=1").await;

    assert_eq!((&unspent["runs_out_on"], &unspent["lasts_until_reset"]), (&Value::Null, &json!(true)));
    // The account is four days old, and the fifth has begun: 200 a day, and 1,000 are left.
    assert_eq!(
        told,
        json!({"days": 5, "spent": 1000, "average_per_day": "200.00", "available": 1000, "runs_out_on": "2026-03-10", "resets_at": "2026-03-15T00:00:00Z", "lasts_until_reset": false})
    );
    assert_eq!((of_one_day["average_per_day"].as_str(), of_one_day["runs_out_on"].as_str()), (Some("1000.00"), Some("2026-03-06")));
    app.get(&format!("{CREDITS}/burndown/?days=0")).bearer(&ana.access).send().await.expect_code(400, "invalid_input");
}

#[tokio::test]
async fn the_balance_of_any_moment_is_that_after_the_newest_entry_by_then() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let ana = pass(&app, &ana, DAY).await;
    spend(&app, &ana, 7, 0).await;
    endow(&app, ana.account_id, 300_000).await;
    make_long(&app, ana.account_id, 100_000, "2026-03-02T00:00:00Z").await;
    let ana = pass(&app, &ana, 2 * DAY).await;
    let at = async |instant: &str| read(&app, &ana, &format!("balance/?at={instant}")).await;

    let before = at("2026-02-28T23:59:59.999999Z").await;
    let first = at("2026-03-01T00:00:00Z").await;
    let mut moments = Vec::new();
    for instant in ["2026-03-02T00:00:00.999999Z", "2026-03-02T00:00:01Z", "2026-03-02T03:00:00.5Z", "2026-03-03T23:00:00Z"] {
        let past = at(instant).await;
        moments.push((past["credits"].as_i64().unwrap(), past["transaction"].as_i64().unwrap()));
    }

    assert_eq!(
        before,
        json!({"as_of": "2026-02-28T23:59:59.999999Z", "credits": 0, "plan_credits": 0, "extra_credits": 0, "transaction": null})
    );
    assert_eq!((first["credits"].as_i64(), first["transaction"].as_i64()), (Some(2_000), Some(1)));
    let (all, seq) = (301_993, 3);
    assert_eq!(moments, [(all, seq), (all - 1, seq + 1), (all - 10_800, seq + 10_800), (all - 100_000, seq + 100_000)]);
    assert_eq!(read(&app, &ana, "balance/").await["credits"], all - 100_000);
    let tomorrow = app.get(&format!("{CREDITS}/balance/?at=2026-03-05T00:00:00Z")).bearer(&ana.access).send().await;
    tomorrow.expect_code(400, "invalid_input");
    app.verify().await;
}

#[tokio::test]
async fn a_long_statement_is_streamed_in_constant_memory_and_holds_no_connection_between() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    endow(&app, ana.account_id, MANY).await;
    make_long(&app, ana.account_id, MANY, "2026-03-01T00:00:00Z").await;
    let ask = app.get(&format!("{CREDITS}/transactions/")).bearer(&ana.access).header("accept", "text/csv");

    let response = ask.open().await;
    let (parts, body) = response.into_parts();
    let mut pieces: BodyDataStream = body.into_data_stream();
    let heading = pieces.next().await.unwrap().unwrap();
    let first = pieces.next().await.unwrap().unwrap();
    // While the client takes its time, every connection is free; what is spent meanwhile is not in the statement.
    let mut held = Vec::new();
    for _ in 0..app.state.config.database_pool_size {
        held.push(app.pool().acquire().await.unwrap());
    }
    drop(held);
    spend(&app, &ana, 1, 0).await;
    let (mut lines, mut largest, mut last) = (count_lines(&first), first.len(), first.clone());
    while let Some(piece) = pieces.next().await {
        last = piece.unwrap();
        (lines, largest) = (lines + count_lines(&last), largest.max(last.len()));
    }

    assert_eq!(parts.status.as_u16(), 200);
    assert_eq!(parts.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(parts.headers["content-disposition"], "attachment; filename=\"igny8-credits-ana-s-account-2026-03-01.csv\"");
    assert_eq!(&heading[..], b"id,created_at,type,operation,quantity,amount,balance_after,description,reference\r\n");
    let newest = String::from_utf8(first.to_vec()).unwrap();
    let newest = newest.lines().next().unwrap();
    assert_eq!(newest, "200002,2026-03-03T07:33:20.000000Z,deduction,content_generation,100,-1,2000,\"row 200000\",");
    assert_eq!(lines, MANY + 2, "every entry once");
    assert!(
        String::from_utf8(last.to_vec())
            .unwrap()
            .ends_with("1,2026-03-01T00:00:00.000000Z,subscription,,,2000,2000,\"Initial credits from Free Trial\",\r\n")
    );
    assert_eq!(count_lines(&first), 1_000, "never more than a thousand entries are in memory");
    assert!(largest < 200_000, "{largest} bytes at once");
}

fn count_lines(piece: &[u8]) -> usize {
    piece.split(|byte| *byte == b'\n').count() - 1
}

#[tokio::test]
async fn a_statement_keeps_to_the_filter_and_is_no_program() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let evil = json!({"operation": "clustering", "quantity": 1, "description": "=cmd|' /C calc'!A0", "reference": "@x, \"y\""});
    app.post(&format!("{CREDITS}/deduct/")).bearer(&ana.access).json(evil).send().await.expect(201);
    let ask = |query: &str, accept: &str| app.get(&format!("{CREDITS}/transactions/?{query}")).bearer(&ana.access).header("accept", accept);

    let spent = ask("type=deduction", "text/csv;q=0.9, application/json").send().await.expect(200);
    let none = ask("from=2026-03-02T00:00:00Z", "text/csv").send().await.expect(200);
    let json = ask("type=deduction", "application/json, text/csv").send().await.expect(200);
    let refused = ask("type=gift", "text/csv").send().await;

    assert_eq!(
        spent.text.lines().nth(1),
        Some("2,2026-03-01T00:00:00.000000Z,deduction,clustering,1,-10,1990,\"'=cmd|' /C calc'!A0\",\"'@x, \"\"y\"\"\"")
    );
    assert_eq!((spent.text.lines().count(), none.text.lines().count()), (2, 1));
    assert_eq!(json.body["results"][0]["id"], 2);
    refused.expect_code(400, "invalid_input");
}

#[tokio::test]
async fn todays_balance_is_explained_by_its_grants_its_resets_and_what_they_paid_for() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let path = format!("/api/v1/billing/admin/accounts/{}", ana.account_id);
    let give = async |body: Value| app.post(&format!("{path}/credits/")).bearer(&staff.access).json(body).send().await.expect(201);
    spend(&app, &ana, 100, 50).await;
    give(json!({"amount": 60, "reason": "a present", "expires_at": "2026-04-01T00:00:00Z"})).await;
    give(json!({"amount": 40, "reason": "bought", "type": "purchase"})).await;
    app.post(&format!("{path}/plan/"))
        .bearer(&staff.access)
        .json(json!({"plan_slug": "free", "reason": "a test"}))
        .send()
        .await
        .expect(200);
    // 100 plan credits, 70 extra ones: the present first.
    spend(&app, &ana, 130, 40).await;
    app.post(&format!("{path}/transactions/2/refund/"))
        .bearer(&staff.access)
        .json(json!({"amount": 5, "reason": "sorry"}))
        .send()
        .await
        .expect(201);

    let told = read(&app, &ana, "explain/").await;
    let newest = read(&app, &ana, "explain/?periods=1").await;
    let older = read(&app, &ana, "explain/?periods=1&before_period=2").await;

    let paid = |operation: &str, runs: i64, credits: i64| json!({"operation": operation, "runs": runs, "credits": credits});
    assert_eq!((told["credits"].as_i64(), told["plan_credits"].as_i64(), told["extra_credits"].as_i64()), (Some(35), Some(5), Some(30)));
    let [second, first] = &told["plan_grants"].as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!((second["granted"].as_i64(), second["left"].as_i64(), second["corrected"].as_i64()), (Some(100), Some(5), Some(5)));
    assert_eq!((&second["paid_for"], &second["reset"]), (&json!([paid("content_generation", 1, 100)]), &Value::Null));
    assert_eq!(first["paid_for"], json!([paid("content_generation", 1, 100), paid("image_generation", 1, 50)]));
    assert_eq!((first["granted"].as_i64(), first["left"].as_i64()), (Some(2_000), Some(0)));
    let reset = &first["reset"];
    assert_eq!((reset["expired"].as_i64(), reset["next_period"].as_i64(), reset["transaction"].as_i64()), (Some(1_850), Some(2), Some(6)));
    let extra = told["extra_grants"].as_array().unwrap().iter();
    let extra =
        extra.map(|grant| (grant["transaction"].as_i64().unwrap(), grant["spent"].as_i64().unwrap(), grant["left"].as_i64().unwrap()));
    assert_eq!(extra.collect::<Vec<_>>(), [(5, 10, 30), (4, 60, 0)]);
    assert_eq!((newest["next_before_period"].as_i64(), &newest["plan_grants"][0]), (Some(2), second));
    assert_eq!((&older["next_before_period"], &older["plan_grants"][0]), (&Value::Null, first));
    app.verify().await;
}
