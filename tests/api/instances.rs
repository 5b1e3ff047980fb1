//! Two instances on one database, and one behind a pooler: what one does, the other knows, and nothing is done twice.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{CONNECT_QUERY, Mailbox, PASSWORD, PgBouncer, PoolMode, Session, TestApp, TestDatabase, request_to};
use axum::http::Method;
use futures::future::join_all;
use igny8::{
    accounts::life::end_periods,
    credits, db,
    mail::{post::Post, service::deliver},
    period::days,
    state::AppState,
};
use secrecy::SecretString;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use std::{collections::BTreeSet, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);
const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const SITES: &str = "/api/v1/auth/sites/";
const CONFIRM: &str = "/api/v1/billing/admin/confirm-bank-transfer/";
/// Accounts whose trial ends at the same moment.
const ACCOUNTS: usize = 30;
/// Schedulers at work at once.
const SCHEDULERS: usize = 4;

/// What one instance's scheduler does in a round; how many periods it ended and mails it sent.
async fn round(state: AppState) -> (usize, usize) {
    let (now, mut sent) = (igny8::clock::Clock::now(&*state.clock), 0);
    let ended = end_periods(&state.pool, days(3), now).await.unwrap();
    credits::lots::service::expire_due(&state.pool, now).await.unwrap();
    credits::notices::service::notify(&state.pool, state.desk().outbox(), now).await.unwrap();
    credits::seals::service::seal_due(&state.pool, now).await.unwrap();
    let post = Post::of(&state.config).unwrap();
    loop {
        let delivered = deliver(&state.pool, &post, state.authenticator.vault(), now).await.unwrap();
        if delivered.sent == 0 {
            return (ended, sent);
        }
        sent += delivered.sent;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedulers_of_several_instances_end_each_period_and_send_each_mail_once() {
    let mailbox = Mailbox::open().await;
    let url = mailbox.url();
    let app = TestApp::with(|config| {
        config.smtp_url = Some(url.into());
        config.mail_from = "IGNY8 <no-reply@example.com>".to_owned();
    })
    .await;
    for n in 0..ACCOUNTS {
        app.register(&format!("customer-{n}@example.com")).await;
    }
    app.advance(DAY * 14);

    let rounds = join_all((0..SCHEDULERS).map(|_| tokio::spawn(round(app.state.clone())))).await;
    let rounds = rounds.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let late = round(app.state.clone()).await;

    let (ended, sent) = rounds.iter().fold(late, |sum, round| (sum.0 + round.0, sum.1 + round.1));
    assert_eq!(ended, ACCOUNTS, "{rounds:?}");
    assert_eq!(app.count("select count(*) from accounts where status = 'suspended'").await, i64::try_from(ACCOUNTS).unwrap());
    let suspensions =
        "select count(*) from (select target from audit_log where action like '%suspended%' group by target having count(*) > 1) t";
    assert_eq!(app.count(suspensions).await, 0);
    let mails = mailbox.received();
    let distinct = mails.iter().map(|mail| (mail.to.clone(), mail.data.clone())).collect::<BTreeSet<_>>();
    assert!(mails.len() >= ACCOUNTS, "{}", mails.len());
    assert_eq!((mails.len(), distinct.len()), (sent, sent), "{rounds:?}");
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_session_on_one_instance_ends_it_on_the_other_at_once() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, other) = (app.register("ana@example.com").await, app.beside());
    let job = json!({"operation": "clustering", "quantity": 1});
    let spend = |session: &Session| request_to(&other, Method::POST, DEDUCT).bearer(&session.access).json(job.clone()).send();
    // Twice: from then on the other instance knows the session.
    spend(&ana).await.expect(201);
    spend(&ana).await.expect(201);

    app.post("/api/v1/auth/logout-all/").bearer(&ana.access).send().await.expect(200);
    let after_logout = spend(&ana).await;
    let again = app.log_in("ana@example.com").await;
    spend(&again).await.expect(201);
    app.execute("update accounts set status = 'suspended'").await;
    let after_suspension = spend(&again).await;

    after_logout.expect(401);
    after_suspension.expect_code(403, "account_suspended");
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_limits_and_refresh_tokens_are_shared_by_all_instances() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, other) = (app.register("ana@example.com").await, app.beside());
    let to = |n: usize, path: &str| if n.is_multiple_of(2) { app.post(path) } else { request_to(&other, Method::POST, path) };

    let keyed = join_all((0..200).map(|n| {
        let call = to(n, DEDUCT).bearer(&ana.access).header("idempotency-key", &format!("job-{}", n / 10));
        tokio::spawn(call.json(json!({"operation": "clustering", "quantity": 1})).send())
    }))
    .await;
    let created =
        join_all((0..20).map(|n| tokio::spawn(to(n, SITES).bearer(&ana.access).json(json!({"name": format!("Site {n}")})).send()))).await;
    let refreshed =
        join_all((0..20).map(|n| tokio::spawn(to(n, "/api/v1/auth/refresh/").json(json!({"refresh": ana.refresh})).send()))).await;

    assert!(keyed.into_iter().all(|reply| reply.unwrap().status == 201));
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'deduction'").await, 20);
    assert_eq!(created.into_iter().filter(|reply| reply.as_ref().unwrap().status == 201).count(), 1, "the trial has one site");
    assert!(refreshed.into_iter().all(|reply| reply.unwrap().status == 200), "parallel tabs, whichever instance they reach");
    app.verify().await;
}

/// The folder of the socket that a URL of the tests' database names, unless it is on another machine.
fn socket_dir(options: &PgConnectOptions) -> String {
    options.get_socket().expect("the tests' database is on a socket").display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_and_its_races_pass_through_a_pooler() {
    let database = TestDatabase::new().await;
    let options = database.connect_options();
    let pooler = PgBouncer::before(&socket_dir(&options), PoolMode::Session, CONNECT_QUERY);
    let url = pooler.url(options.get_database().unwrap());
    let app = TestApp::connected(database, url, |config| config.throttle_disabled = true).await;

    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let spends = join_all((0..500).map(|n| {
        let call = app.post(DEDUCT).bearer(&ana.access).header("idempotency-key", &format!("job-{}", n / 2));
        tokio::spawn(call.json(json!({"operation": "clustering", "quantity": 1})).send())
    }))
    .await;
    let transfer = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana", "plan_slug": "starter"});
    let confirmed = join_all((0..30).map(|_| tokio::spawn(app.post(CONFIRM).bearer(&staff.access).json(transfer.clone()).send()))).await;
    let form = json!({"email": "bert@example.com", "password": PASSWORD});
    let signups = join_all((0..20).map(|_| tokio::spawn(app.post("/api/v1/auth/register/").json(form.clone()).send()))).await;

    let succeeded = spends.into_iter().filter(|reply| reply.as_ref().unwrap().status == 201).count();
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
    assert!(shared.to_string().contains("pool_mode = session"), "{shared}");
}
