//! How long sessions last, and that every instance knows at once that one is over.

use crate::support::{Call, PASSWORD, Reply, Session, TestApp, request_to};
use axum::http::Method;
use igny8::router::App;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const ME: &str = "/api/v1/auth/me/";
const REFRESH: &str = "/api/v1/auth/refresh/";
const DAY: Duration = Duration::from_secs(86_400);

async fn refresh(app: &TestApp, token: &str) -> Reply {
    app.post(REFRESH).json(json!({ "refresh": token })).send().await
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

async fn remembered(app: &TestApp, email: &str) -> Session {
    let form = json!({ "email": email, "password": PASSWORD, "remember_me": true });
    Session::of(&app.post("/api/v1/auth/login/").json(form).send().await.expect(200))
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_after_seven_days_and_a_remembered_one_after_twenty() {
    let app = TestApp::start().await;
    let usual = app.register("ana@example.com").await;
    let kept = remembered(&app, "ana@example.com").await;

    app.advance(7 * DAY);
    let idle = refresh(&app, &usual.refresh).await;
    app.advance(13 * DAY);
    let idle_longer = refresh(&app, &kept.refresh).await;

    for reply in [idle, idle_longer] {
        reply.expect_code(401, "token_expired");
    }
}

#[tokio::test]
async fn a_session_in_daily_use_ends_after_thirty_days_and_a_remembered_one_after_ninety() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;

    let mut lasted = Vec::new();
    for is_remembered in [false, true] {
        let session = if is_remembered { remembered(&app, "ana@example.com").await } else { app.log_in("ana@example.com").await };
        let (mut token, mut half_days) = (session.refresh, 0);
        let refused = loop {
            app.advance(DAY / 2);
            half_days += 1;
            let reply = refresh(&app, &token).await;
            if reply.status.as_u16() != 200 {
                break reply;
            }
            token = text(&reply.data()["refresh"]);
        };
        refused.expect_code(401, "token_expired");
        lasted.push(half_days / 2);
    }

    assert_eq!(lasted, [30, 90]);
}

#[tokio::test]
async fn no_token_outlives_its_sessions_last_day() {
    let app = TestApp::start().await;
    let session = app.register("ana@example.com").await;
    let mut token = session.refresh;
    for _ in 0..5 {
        app.advance(6 * DAY - Duration::from_secs(360));
        token = text(&refresh(&app, &token).await.expect(200).data()["refresh"]);
    }

    // Half an hour before the thirtieth day is over.
    let last = refresh(&app, &token).await.expect(200);
    app.advance(Duration::from_secs(1_800));
    let after = refresh(&app, &text(&last.data()["refresh"])).await;

    let end = json!("2026-03-31T00:00:00Z");
    assert_eq!((&last.data()["access_expires_at"], &last.data()["refresh_expires_at"]), (&end, &end));
    after.expect_code(401, "token_expired");
    app.get(ME).bearer(&text(&last.data()["access"])).send().await.expect_code(401, "token_expired");
}

#[tokio::test]
async fn sessions_that_were_over_for_thirty_days_are_forgotten() {
    let app = TestApp::start().await;
    let revoked = app.register("ana@example.com").await;
    let (living, expired) = (remembered(&app, "ana@example.com").await, app.log_in("ana@example.com").await);
    app.post("/api/v1/auth/logout/").bearer(&revoked.access).send().await.expect(200);
    let purge = async || igny8::auth::service::purge_sessions(app.pool(), app.now()).await.unwrap();

    app.advance(19 * DAY);
    let renewed = refresh(&app, &living.refresh).await.expect(200);
    app.advance(11 * DAY);
    let on_the_day = purge().await;
    app.advance(Duration::from_secs(1));
    let the_revoked = purge().await;
    app.advance(7 * DAY);
    let the_expired = purge().await;

    assert_eq!((on_the_day, the_revoked, the_expired), (0, 1, 1), "{}", expired.email);
    assert_eq!((app.count("select count(*) from sessions").await, app.count("select count(*) from refresh_tokens").await), (1, 2));
    refresh(&app, &text(&renewed.data()["refresh"])).await.expect(200);
}

/// Waits until somebody waits for a lock in the test's database, or `done` has ended without.
async fn waits_for_a_lock(app: &TestApp, done: &tokio::task::JoinHandle<Reply>) -> bool {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while !done.is_finished() {
        if app.count(waiting).await > 0 {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_waits_for_another_of_its_session_and_is_judged_by_what_that_left() {
    let app = Arc::new(TestApp::start().await);
    let parent = app.register("ana@example.com").await;
    refresh(&app, &parent.refresh).await.expect(200);

    // Another refresh, by the child, is under way: its rotation is written and not committed.
    let mut other = app.database().pool().acquire().await.unwrap();
    sqlx::raw_sql("begin; update sessions set generation = 2").execute(&mut *other).await.unwrap();
    let second = tokio::spawn(app.post(REFRESH).json(json!({ "refresh": parent.refresh })).send());
    let reads_behind_the_lock = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%for update of s%'";
    assert!(waits_for_a_lock(&app, &second).await, "nobody waited");
    let waited_while_reading = app.count(reads_behind_the_lock).await;
    sqlx::raw_sql("commit").execute(&mut *other).await.unwrap();

    // Judged before the commit, it would have been a parallel tab's and taken the session a generation back.
    second.await.unwrap().expect_code(401, "token_revoked");
    assert_eq!(waited_while_reading, 1);
    assert_eq!(app.count("select generation::bigint from sessions where revoked_reason = 'refresh_reused'").await, 2);
}

/// One of the changes after which a token opens nothing, or less, made through the first instance.
async fn change(app: &TestApp, what: &str, (ana, ben, staff): (&Session, &Session, &Session)) {
    let as_ana = |call: Call| call.bearer(&ana.access);
    let person = format!("/api/v1/auth/users/{}/", ben.user_id);
    let account = format!("/api/v1/billing/admin/accounts/{}/suspend/", ana.account_id);
    let call = match what {
        "logout" => app.post("/api/v1/auth/logout/").bearer(&ben.access),
        "logout-all" => app.post("/api/v1/auth/logout-all/").bearer(&ben.access),
        "password change" => {
            let elsewhere = app.log_in(&ben.email).await;
            let form = json!({ "old_password": PASSWORD, "new_password": "another horse battery" });
            app.post("/api/v1/auth/change-password/").bearer(&elsewhere.access).json(form)
        }
        "user suspended" => as_ana(app.patch(&person)).json(json!({ "is_active": false })),
        "user deleted" => as_ana(app.delete(&person)),
        "role change" => as_ana(app.patch(&person)).json(json!({ "role": "viewer" })),
        "account suspended" => app.post(&account).bearer(&staff.access).json(json!({ "reason": "a test" })),
        "account deleted" => as_ana(app.delete("/api/v1/account/")),
        _ => panic!("{what}?"),
    };
    call.send().await.expect(200);
}

async fn ask(instance: &App, session: &Session) -> Reply {
    // Both need an editor in an account that may act: every change shows. Spending is the one that remembers sessions.
    let spend = json!({ "operation": "clustering", "quantity": 1 });
    let spend = request_to(instance, Method::POST, "/api/v1/billing/credits/deduct/").bearer(&session.access).json(spend).send().await;
    let site = request_to(instance, Method::POST, "/api/v1/auth/sites/").bearer(&session.access).json(json!({ "name": "Blog" }));
    let site = site.send().await;
    assert_eq!((spend.status, &spend.body["code"]), (site.status, &site.body["code"]), "{} {}", spend.text, site.text);
    site
}

#[tokio::test]
async fn no_request_begun_after_a_changes_answer_slips_through_on_one_instance_or_on_another() {
    let changes = [
        ("logout", 401, "token_revoked"),
        ("logout-all", 401, "token_revoked"),
        ("password change", 401, "token_revoked"),
        ("user suspended", 401, "token_revoked"),
        ("user deleted", 401, "token_revoked"),
        ("role change", 403, "role_required"),
        ("account suspended", 403, "account_suspended"),
        ("account deleted", 401, "token_revoked"),
    ];
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (one, two) = (app.beside(), app.beside());
    app.execute("update plans set max_users = 9, max_sites = 99 where slug = 'free-trial'").await;
    let staff = app.operator().await;

    for (number, (what, status, code)) in changes.into_iter().enumerate() {
        let ana = app.register(&format!("ana{number}@example.com")).await;
        let email = format!("ben{number}@example.com");
        let body = json!({ "email": email, "role": "editor", "password": PASSWORD });
        app.post("/api/v1/auth/users/").bearer(&ana.access).json(body).send().await.expect(201);
        let ben = app.log_in(&email).await;
        // Both instances have seen him before, so that whatever they keep of him they have.
        for instance in [&one, &two] {
            ask(instance, &ben).await.expect(201);
        }

        change(&app, what, (&ana, &ben, &staff)).await;

        for instance in [&two, &one] {
            let reply = ask(instance, &ben).await;
            assert_eq!((reply.status.as_u16(), reply.body["code"].as_str()), (status, Some(code)), "{what}: {}", reply.text);
        }
    }
}
