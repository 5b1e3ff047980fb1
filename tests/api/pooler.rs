//! Behind a real PgBouncer: in session mode, and in transaction mode, where connections take turns on fewer sessions.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::{
    instances::{a_session_ends_everywhere, all_is_done_once, keys_limits_and_tokens_are_shared, mailing_to},
    support::{CONNECT_QUERY, Mailbox, PASSWORD, PgBouncer, PoolMode, TestApp, TestDatabase, request_to, socket_dir},
};
use axum::http::Method;
use futures::{StreamExt as _, future::join_all, stream};
use igny8::db;
use secrecy::SecretString;
use serde_json::json;
use std::collections::BTreeMap;

const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const CONFIRM: &str = "/api/v1/billing/admin/confirm-bank-transfer/";
/// What is read in turns: statements of every shape, and lists of several statements.
const READS: [&str; 8] = [
    "/api/v1/auth/me/",
    "/api/v1/billing/credits/balance/",
    "/api/v1/billing/credits/transactions/",
    "/api/v1/billing/credits/usage/",
    "/api/v1/auth/sites/",
    "/api/v1/auth/plans/",
    "/api/v1/auth/users/",
    "/api/v1/billing/invoices/",
];
/// How often, and how many at once: more than there are connections, of which there are more than sessions.
const READS_IN_ALL: usize = 960;
const READS_AT_ONCE: usize = 40;
/// Debits of one credit that are sent, how many at once, and the credits that there are.
const DEBITS: usize = 2_000;
const IN_FLIGHT: usize = 200;
const CREDITS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_and_its_races_pass_through_a_pooler_that_lends_sessions_for_good() {
    let database = TestDatabase::new().await;
    let options = database.connect_options();
    let pooler = PgBouncer::before(&socket_dir(&options), PoolMode::Session, CONNECT_QUERY);
    let url = pooler.url(options.get_database().unwrap());
    let app = TestApp::connected(database, url, |config| config.throttle_disabled = true).await;

    a_story_and_its_races(&app, 500).await;
}

/// Twice as many debits as there are credits, one transfer confirmed many times, one address registered many times.
async fn a_story_and_its_races(app: &TestApp, in_flight: usize) {
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let spends = stream::iter(0..500).map(|n| {
        let call = app.post(DEDUCT).bearer(&ana.access).header("idempotency-key", &format!("job-{}", n / 2));
        call.json(json!({"operation": "clustering", "quantity": 1})).send()
    });
    let spends = spends.buffer_unordered(in_flight).collect::<Vec<_>>().await;
    let transfer = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana", "plan_slug": "starter"});
    let confirmed = join_all((0..30).map(|_| tokio::spawn(app.post(CONFIRM).bearer(&staff.access).json(transfer.clone()).send()))).await;
    let form = json!({"email": "bert@example.com", "password": PASSWORD});
    let signups = join_all((0..20).map(|_| tokio::spawn(app.post("/api/v1/auth/register/").json(form.clone()).send()))).await;

    let succeeded = spends.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(succeeded, 400, "200 jobs of 10 on 2,000 credits, each sent twice");
    assert!(confirmed.into_iter().all(|reply| reply.unwrap().status == 200));
    assert_eq!(signups.into_iter().filter(|reply| reply.as_ref().unwrap().status == 201).count(), 1);
    assert_eq!(
        app.count("select plan_credits from credit_balances join users using (account_id) where email = 'ana@example.com'").await,
        1_000
    );
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_drops_settings_or_shares_sessions_is_refused_and_told_what_to_change() {
    let database = TestDatabase::new().await;
    let options = database.connect_options();
    let (socket, name) = (socket_dir(&options), options.get_database().unwrap());
    let ask = async |pooler: &PgBouncer| {
        let url = SecretString::from(pooler.url(name));
        db::require_own_sessions(&db::connect_options(&url, "DATABASE_URL").unwrap()).await
    };

    let good = ask(&PgBouncer::before(&socket, PoolMode::Session, CONNECT_QUERY)).await;
    let forgetful = ask(&PgBouncer::before(&socket, PoolMode::Session, "")).await.expect_err("a statement could run for ever");
    let shared = ask(&PgBouncer::before(&socket, PoolMode::Transaction, CONNECT_QUERY)).await.expect_err("statements would be mixed up");
    let direct = db::require_own_sessions(&db::connect_options(&database.url().into(), "DATABASE_URL").unwrap()).await;

    assert!(good.is_ok() && direct.is_ok(), "{good:?} {direct:?}");
    assert!(forgetful.to_string().contains("connect_query: set timezone = 'UTC'; set statement_timeout = '5s'"), "{forgetful}");
    assert!(shared.to_string().contains("set DATABASE_POOLER=transaction, or give it pool_mode = session"), "{shared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_and_its_races_pass_through_a_pooler_that_lends_sessions_for_a_transaction() {
    let app = TestApp::taking_turns(|config| config.throttle_disabled = true).await;

    a_story_and_its_races(&app, 64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_reads_on_two_instances_that_take_turns_are_answered_each_with_its_own_rows() {
    let app = TestApp::taking_turns(|config| config.throttle_disabled = true).await;
    let (_, other) = app.elsewhere().await;
    let people = join_all((0..4).map(async |n| app.register(&format!("customer-{n}@example.com")).await)).await;
    let read = |n: usize| {
        let (path, who) = (READS[n % READS.len()], &people[n / READS.len() % people.len()]);
        let call = if n.is_multiple_of(3) { app.get(path) } else { request_to(&other, Method::GET, path) };
        async move { ((path, who.user_id), call.bearer(&who.access).send().await.expect(200).body["data"].clone()) }
    };
    let alone = stream::iter(0..READS.len() * people.len()).then(read).collect::<BTreeMap<_, _>>().await;

    let answers = stream::iter(0..READS_IN_ALL).map(read).buffer_unordered(READS_AT_ONCE).collect::<Vec<_>>().await;

    for (asked, answer) in answers {
        assert_eq!(answer, alone[&asked], "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debits_on_two_instances_that_take_turns_succeed_exactly_as_often_as_there_are_credits() {
    let app = TestApp::taking_turns(|config| config.throttle_disabled = true).await;
    let (_, other) = app.elsewhere().await;
    let ana = app.register("ana@example.com").await;
    app.post(DEDUCT).bearer(&ana.access).json(words(2_000 - CREDITS)).send().await.expect(201);
    let debit = |n: usize| {
        let access = ana.access.clone();
        let call = if n.is_multiple_of(2) { app.post(DEDUCT) } else { request_to(&other, Method::POST, DEDUCT) };
        async move { call.bearer(&access).json(words(1)).send().await.status.as_u16() }
    };

    let answers = stream::iter(0..DEBITS).map(debit).buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;

    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(201), count(402)), (CREDITS, DEBITS - CREDITS));
    // What was acknowledged is seen past the pooler: it was committed.
    let written = "select count(*) from credit_transactions where kind = 'deduction' and amount = -1";
    let written = sqlx::query_scalar::<_, i64>(written).fetch_one(app.database().pool()).await.unwrap();
    assert_eq!(usize::try_from(written).unwrap(), CREDITS);
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_keys_limits_and_tokens_are_shared_by_instances_that_take_turns() {
    let sessions = TestApp::taking_turns(|config| config.throttle_disabled = true).await;
    let shared = TestApp::taking_turns(|config| config.throttle_disabled = true).await;

    a_session_ends_everywhere(&sessions, &sessions.elsewhere().await.1).await;
    keys_limits_and_tokens_are_shared(&shared, &shared.elsewhere().await.1, READS_AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedulers_that_take_turns_end_each_period_and_send_each_mail_once() {
    let mailbox = Mailbox::open().await;
    let app = TestApp::taking_turns(mailing_to(&mailbox)).await;
    let mut states = vec![app.state.clone(), app.state.clone()];
    states.push(app.elsewhere().await.0);

    all_is_done_once(&app, states, &mailbox).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_requests_on_sessions_in_turns_count_exactly() {
    let app = TestApp::taking_turns(|_| {}).await;
    let ana = app.register("ana@example.com").await;
    let ask = || app.get("/api/v1/auth/me/").bearer(&ana.access).send();
    let limit: usize = ask().await.expect(200).header("x-throttle-remaining").parse().unwrap();

    let answers = stream::iter(0..limit + 200).map(|_| ask()).buffer_unordered(READS_AT_ONCE).collect::<Vec<_>>().await;

    let admitted = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((admitted, refused), (limit, 200));
}

#[tokio::test]
async fn what_is_left_on_a_session_by_others_harms_nobody_and_a_loan_can_not_write() {
    let app = TestApp::taking_turns(|_| {}).await;
    let ana = app.register("ana@example.com").await;
    // Statements under the names that ours have, on every session that the pooler has.
    let raw = app.state.pool.connections().clone();
    for n in 1..20 {
        let prepare = format!("prepare sqlx_s_{n} as select 'of somebody else'::text");
        join_all((0..4).map(|_| sqlx::raw_sql(sqlx::AssertSqlSafe(prepare.clone())).execute(&raw))).await;
    }

    let balance = app.get("/api/v1/billing/credits/balance/").bearer(&ana.access).send().await.expect(200);
    let mut loan = app.pool().acquire().await.unwrap();
    let refused = sqlx::query("update accounts set name = 'changed'").execute(&mut *loan).await.unwrap_err();

    assert_eq!(balance.data()["credits"], 2_000);
    assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("25006"));
}

fn words(hundreds: usize) -> serde_json::Value {
    json!({"operation": "content_generation", "quantity": hundreds * 100})
}
