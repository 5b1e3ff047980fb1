//! Another e-mail address: told to the old one, proven at the new one, and nobody else's.

use crate::support::{Mailbox, PASSWORD, Reply, Session, TestApp};
use igny8::mail::{post::Post, service::deliver};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const ASK: &str = "/api/v1/auth/change-email/";
const CONFIRM: &str = "/api/v1/auth/change-email/confirm/";
const HOUR: Duration = Duration::from_secs(3_600);

async fn with_mail() -> (Arc<TestApp>, Mailbox, Post) {
    let mailbox = Mailbox::open().await;
    let url = mailbox.url();
    let app = TestApp::with(|config| {
        config.smtp_url = Some(url.into());
        config.mail_from = "IGNY8 <no-reply@example.com>".to_owned();
        config.throttle_disabled = true;
    })
    .await;
    let post = Post::of(&app.state.config).expect("a post");
    (Arc::new(app), mailbox, post)
}

async fn ask(app: &TestApp, session: &Session, new_email: &str) -> Reply {
    app.post(ASK).bearer(&session.access).json(json!({ "new_email": new_email, "password": PASSWORD })).send().await
}

async fn confirm(app: &TestApp, token: &str) -> Reply {
    app.post(CONFIRM).json(json!({ "token": token })).send().await
}

/// Carries all mail, and gives the newest token that came to that address.
async fn token_to(app: &TestApp, (mailbox, post): (&Mailbox, &Post), address: &str) -> String {
    deliver(app.pool(), post, app.state.authenticator.vault(), app.now()).await.expect("the outbox can be read");
    let mails = mailbox.received();
    let mail = mails.iter().rfind(|mail| mail.to == address && mail.text().contains("change-email?token=")).expect("a mail");
    let text = mail.text();
    let rest = text.split("?token=").nth(1).expect("a token");
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

fn without_id(mut reply: Reply) -> Value {
    reply.body["request_id"].take();
    reply.body
}

#[tokio::test]
async fn an_address_is_changed_by_the_mail_to_the_new_one_and_sessions_go_on() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;

    ask(&app, &ana, " Ana@New.Example.com ").await.expect(200);
    let token = token_to(&app, (&mailbox, &post), "ana@new.example.com").await;
    let before = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(200);
    confirm(&app, &token).await.expect(200);
    let again = confirm(&app, &token).await;
    let after = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(200);

    assert_eq!((&before.data()["user"]["email"], &before.data()["user"]["email_verified"]), (&json!("ana@example.com"), &json!(false)));
    assert_eq!((&after.data()["user"]["email"], &after.data()["user"]["email_verified"]), (&json!("ana@new.example.com"), &json!(true)));
    again.expect_code(400, "invalid_input");
    app.log_in("ana@new.example.com").await;
    let old = json!({ "email": "ana@example.com", "password": PASSWORD });
    app.post("/api/v1/auth/login/").json(old).send().await.expect_code(401, "invalid_credentials");
    assert_eq!(app.count("select count(*) from audit_log where action = 'user.email_changed' and actor = target").await, 1);
    deliver(app.pool(), &post, app.state.authenticator.vault(), app.now()).await.unwrap();
    let told = mailbox.received().into_iter().filter(|mail| mail.to == "ana@example.com").map(|mail| mail.data).collect::<String>();
    for subject in ["Subject: Your e-mail address is about to change", "Subject: Your e-mail address was changed"] {
        assert!(told.contains(subject), "{subject} in {told}");
    }
}

#[tokio::test]
async fn asking_for_another_address_needs_the_password_and_tells_nothing_of_that_address() {
    let (app, _, _) = with_mail().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);

    let wrong = json!({ "new_email": "x@example.com", "password": "wrong horse battery" });
    let wrong = app.post(ASK).bearer(&ana.access).json(wrong).send().await;
    let same = ask(&app, &ana, "ANA@example.com").await;
    let taken = ask(&app, &ana, &ben.email).await;
    let free = ask(&app, &ana, "free@example.com").await;

    assert!(wrong.expect_code(400, "invalid_input").body["errors"]["password"].is_array());
    assert!(same.expect_code(400, "invalid_input").body["errors"]["new_email"].is_array());
    assert_eq!((taken.status, taken.headers.len()), (free.status, free.headers.len()));
    assert_eq!(without_id(taken), without_id(free.expect(200)));
}

#[tokio::test]
async fn an_address_that_was_taken_meanwhile_changes_nothing_and_the_token_stays_good() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    ask(&app, &ana, "wanted@example.com").await.expect(200);
    let token = token_to(&app, (&mailbox, &post), "wanted@example.com").await;
    let ben = app.register("wanted@example.com").await;

    let taken = confirm(&app, &token).await;
    let me = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(200);
    app.delete("/api/v1/account/").bearer(&ben.access).send().await.expect(200);
    let free = confirm(&app, &token).await;

    taken.expect_code(409, "email_taken");
    assert_eq!(me.data()["user"]["email"], "ana@example.com");
    free.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_confirmation_and_a_registration_at_once_one_gets_the_address_twenty_times() {
    let (app, mailbox, post) = with_mail().await;

    for round in 0..20 {
        let ana = app.register(&format!("ana{round}@example.com")).await;
        let wanted = format!("wanted{round}@example.com");
        ask(&app, &ana, &wanted).await.expect(200);
        let token = token_to(&app, (&mailbox, &post), &wanted).await;
        let confirming = tokio::spawn(app.post(CONFIRM).json(json!({ "token": token })).send());
        let registering = tokio::spawn(app.post("/api/v1/auth/register/").json(json!({ "email": wanted, "password": PASSWORD })).send());
        let (confirmed, registered) = (confirming.await.unwrap(), registering.await.unwrap());

        let told = (confirmed.status.as_u16(), registered.status.as_u16());
        assert!([(200, 400), (409, 201)].contains(&told), "{told:?} {} {}", confirmed.text, registered.text);
        let owner: i64 =
            sqlx::query_scalar("select user_id from users where email = $1").bind(&wanted).fetch_one(app.pool()).await.unwrap();
        assert_eq!(owner == ana.user_id, told.0 == 200);
    }
    app.verify().await;
}

#[tokio::test]
async fn only_the_newest_token_is_good_for_a_day_and_once_among_twenty_at_once() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    ask(&app, &ana, "mistyped@example.com").await.expect(200);
    let mistyped = token_to(&app, (&mailbox, &post), "mistyped@example.com").await;
    ask(&app, &ana, "first@example.com").await.expect(200);
    let first = token_to(&app, (&mailbox, &post), "first@example.com").await;

    let late_wish = confirm(&app, &mistyped).await;
    let tries = futures::future::join_all((0..20).map(|_| confirm(&app, &first))).await;
    ask(&app, &ana, "second@example.com").await.expect(200);
    let second = token_to(&app, (&mailbox, &post), "second@example.com").await;
    app.advance(24 * HOUR);
    let late = confirm(&app, &second).await;
    let of_another_kind = app.post("/api/v1/auth/password-reset/confirm/");
    let of_another_kind = of_another_kind.json(json!({ "token": second, "new_password": "another horse battery" })).send().await;

    assert_eq!(tries.iter().filter(|reply| reply.status.as_u16() == 200).count(), 1);
    for reply in [late_wish, late, of_another_kind] {
        reply.expect_code(400, "invalid_input");
    }
}

#[tokio::test]
async fn a_reset_mailed_to_the_old_address_is_worth_nothing_at_the_new_one() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    app.post("/api/v1/auth/password-reset/").json(json!({ "email": ana.email })).send().await.expect(200);
    deliver(app.pool(), &post, app.state.authenticator.vault(), app.now()).await.unwrap();
    let reset = mailbox.tokens().pop().unwrap();
    ask(&app, &ana, "new@example.com").await.expect(200);
    confirm(&app, &token_to(&app, (&mailbox, &post), "new@example.com").await).await.expect(200);

    let body = json!({ "token": reset, "new_password": "another horse battery" });
    let used = app.post("/api/v1/auth/password-reset/confirm/").json(body).send().await;

    used.expect_code(400, "invalid_input");
}
