//! Several instances on one database: what one does, the others know, and nothing is done twice.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Mailbox, Session, TestApp, request_to};
use axum::http::Method;
use futures::{StreamExt as _, future::join_all, stream};
use igny8::{
    accounts::life::end_periods,
    config::Config,
    credits,
    mail::{post::Post, service::deliver},
    period::days,
    router::App,
    state::AppState,
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);
const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const SITES: &str = "/api/v1/auth/sites/";
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
    let app = TestApp::with(mailing_to(&mailbox)).await;
    let states = (0..SCHEDULERS).map(|_| app.state.clone()).collect();

    all_is_done_once(&app, states, &mailbox).await;
}

/// Settings of a server whose mails arrive there.
pub(super) fn mailing_to(mailbox: &Mailbox) -> impl FnOnce(&mut Config) {
    let url = mailbox.url();
    move |config| {
        config.smtp_url = Some(url.into());
        config.mail_from = "IGNY8 <no-reply@example.com>".to_owned();
    }
}

/// The schedulers of all these instances work at the same moment.
pub(super) async fn all_is_done_once(app: &TestApp, states: Vec<AppState>, mailbox: &Mailbox) {
    for n in 0..ACCOUNTS {
        app.register(&format!("customer-{n}@example.com")).await;
    }
    app.advance(DAY * 14);

    let rounds = join_all(states.into_iter().map(|state| tokio::spawn(round(state)))).await;
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

    a_session_ends_everywhere(&app, &app.beside()).await;
}

pub(super) async fn a_session_ends_everywhere(app: &TestApp, other: &App) {
    let ana = app.register("ana@example.com").await;
    let job = json!({"operation": "clustering", "quantity": 1});
    let spend = |session: &Session| request_to(other, Method::POST, DEDUCT).bearer(&session.access).json(job.clone()).send();
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

    keys_limits_and_tokens_are_shared(&app, &app.beside(), 200).await;
}

pub(super) async fn keys_limits_and_tokens_are_shared(app: &TestApp, other: &App, in_flight: usize) {
    let ana = app.register("ana@example.com").await;
    let to = |n: usize, path: &str| if n.is_multiple_of(2) { app.post(path) } else { request_to(other, Method::POST, path) };

    let keyed = stream::iter(0..200).map(|n| {
        let call = to(n, DEDUCT).bearer(&ana.access).header("idempotency-key", &format!("job-{}", n / 10));
        call.json(json!({"operation": "clustering", "quantity": 1})).send()
    });
    let keyed = keyed.buffer_unordered(in_flight).collect::<Vec<_>>().await;
    let created =
        join_all((0..20).map(|n| tokio::spawn(to(n, SITES).bearer(&ana.access).json(json!({"name": format!("Site {n}")})).send()))).await;
    let refreshed =
        join_all((0..20).map(|n| tokio::spawn(to(n, "/api/v1/auth/refresh/").json(json!({"refresh": ana.refresh})).send()))).await;

    assert!(keyed.iter().all(|reply| reply.status == 201));
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'deduction'").await, 20);
    assert_eq!(created.into_iter().filter(|reply| reply.as_ref().unwrap().status == 201).count(), 1, "the trial has one site");
    assert!(refreshed.into_iter().all(|reply| reply.unwrap().status == 200), "parallel tabs, whichever instance they reach");
    app.verify().await;
}
