//! Mail: what is written in the outbox, how it leaves, and what its tokens are good for.

use crate::support::{Mailbox, PASSWORD, Reply, Session, TestApp};
use igny8::mail::{
    model::{Delivery, Letter, Mail, MailKind},
    post::Post,
    service::{Delivered, deliver, purge},
};
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const RESET: &str = "/api/v1/auth/password-reset/";
const CONFIRM: &str = "/api/v1/auth/password-reset/confirm/";
const VERIFY: &str = "/api/v1/auth/verify-email/";
const NEW_PASSWORD: &str = "another horse battery";

async fn with_mail() -> (TestApp, Mailbox, Post) {
    let mailbox = Mailbox::open().await;
    let url = mailbox.url();
    let app = TestApp::with(|config| {
        config.smtp_url = Some(url.into());
        config.mail_from = "IGNY8 <no-reply@example.com>".to_owned();
        config.app_url = "https://app.example.com".to_owned();
    })
    .await;
    let post = Post::of(&app.state.config).expect("a post");
    (app, mailbox, post)
}

async fn carry(app: &TestApp, post: &Post) -> Delivered {
    deliver(app.pool(), post, app.state.authenticator.vault(), app.now()).await.expect("the outbox can be read")
}

async fn ask(app: &TestApp, email: &str) -> Reply {
    app.post(RESET).json(json!({ "email": email })).send().await
}

async fn confirm(app: &TestApp, token: &str, password: &str) -> Reply {
    app.post(CONFIRM).json(json!({ "token": token, "new_password": password })).send().await
}

async fn log_in_with(app: &TestApp, session: &Session, password: &str) -> u16 {
    app.post("/api/v1/auth/login/").json(json!({ "email": session.email, "password": password })).send().await.status.as_u16()
}

#[tokio::test]
async fn registration_writes_a_mail_that_arrives_over_smtp_in_text_and_html_once() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;

    let first = carry(&app, &post).await;
    let second = carry(&app, &post).await;

    assert_eq!((first, second), (Delivered { sent: 1, ..Delivered::default() }, Delivered::default()));
    let mails = mailbox.received();
    let mail = &mails[0];
    assert_eq!((mails.len(), mail.to.as_str()), (1, "ana@example.com"));
    for part in [
        "From: IGNY8 <no-reply@example.com>",
        "To: ana@example.com",
        "text/plain",
        "text/html",
        "Subject: Please confirm your e-mail address",
    ] {
        assert!(mail.data.contains(part), "{part} in {}", mail.data);
    }
    assert!(mail.text().contains("https://app.example.com/verify-email?token="), "{}", mail.text());
    let kept = app.count("select count(*) from mail_outbox where sealed_bodies <> ''").await;
    assert_eq!(kept, 0, "a sent mail's token is not kept");
}

#[tokio::test]
async fn an_address_is_proven_by_its_token_once_and_within_a_day() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    app.advance(MINUTE);
    app.post(&format!("{VERIFY}resend/")).bearer(&ana.access).send().await.expect(200);
    carry(&app, &post).await;
    let tokens = mailbox.tokens();

    let junk = app.post(VERIFY).json(json!({ "token": "junk" })).send().await;
    let proven = app.post(VERIFY).json(json!({ "token": tokens[1] })).send().await;
    let again = app.post(VERIFY).json(json!({ "token": tokens[1] })).send().await;
    app.advance(DAY - MINUTE);
    let late = app.post(VERIFY).json(json!({ "token": tokens[0] })).send().await;

    proven.expect(200);
    for reply in [junk, again, late] {
        assert!(reply.expect_code(400, "invalid_input").body["errors"]["token"].is_array());
    }
    let ana = app.log_in(&ana.email).await;
    let me = app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect(200);
    assert_eq!(me.data()["user"]["email_verified"], true);
    app.post(&format!("{VERIFY}resend/")).bearer(&ana.access).send().await.expect(200);
    assert_eq!(carry(&app, &post).await, Delivered::default(), "nothing is left to prove");
}

#[tokio::test]
async fn a_password_is_reset_by_mail_once_and_every_session_ends() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    carry(&app, &post).await;

    ask(&app, "ANA@Example.com").await.expect(200);
    carry(&app, &post).await;
    let token = mailbox.tokens()[1].clone();
    let weak = confirm(&app, &token, "password").await;
    let done = confirm(&app, &token, NEW_PASSWORD).await;
    let again = confirm(&app, &token, PASSWORD).await;

    weak.expect_code(400, "invalid_input");
    done.expect(200);
    again.expect_code(400, "invalid_input");
    app.get("/api/v1/auth/me/").bearer(&ana.access).send().await.expect_code(401, "token_revoked");
    app.advance(MINUTE);
    assert_eq!((log_in_with(&app, &ana, PASSWORD).await, log_in_with(&app, &ana, NEW_PASSWORD).await), (401, 200));
    carry(&app, &post).await;
    assert!(mailbox.received()[2].data.contains("Subject: Your password was changed"));
    assert_eq!(app.count("select count(*) from audit_log where action = 'user.password_reset' and actor = target").await, 1);
}

#[tokio::test]
async fn a_reset_token_ends_after_an_hour_and_with_every_other_of_its_user() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;
    carry(&app, &post).await;
    for _ in 0..3 {
        ask(&app, "ana@example.com").await.expect(200);
        carry(&app, &post).await;
        app.advance(MINUTE * 20);
    }
    let tokens = mailbox.tokens();

    let late = confirm(&app, &tokens[1], NEW_PASSWORD).await;
    let good = confirm(&app, &tokens[3], NEW_PASSWORD).await;
    let sibling = confirm(&app, &tokens[2], NEW_PASSWORD).await;
    let verify = confirm(&app, &tokens[0], NEW_PASSWORD).await;

    good.expect(200);
    for reply in [late, sibling, verify] {
        reply.expect_code(400, "invalid_input");
    }
}

#[tokio::test]
async fn of_parallel_confirmations_with_one_token_one_is_done() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;
    carry(&app, &post).await;
    ask(&app, "ana@example.com").await.expect(200);
    carry(&app, &post).await;
    let token = mailbox.tokens()[1].clone();

    let tries = futures::future::join_all((0..20).map(|_| confirm(&app, &token, NEW_PASSWORD))).await;

    let done = tries.iter().filter(|reply| reply.status.as_u16() == 200).count();
    assert_eq!((done, tries.iter().filter(|reply| reply.status.as_u16() == 400).count()), (1, 19));
}

#[tokio::test]
async fn an_unknown_address_gets_the_same_answer_and_no_mail() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;
    carry(&app, &post).await;

    let known = ask(&app, "ana@example.com").await.expect(200);
    let unknown = ask(&app, "nobody@example.com").await.expect(200);
    let delivered = carry(&app, &post).await;

    assert_eq!((&known.body["data"], &known.body["message"]), (&unknown.body["data"], &unknown.body["message"]));
    assert_eq!((delivered.sent, mailbox.received().len()), (1, 2));
    assert_eq!(app.count("select count(*) from one_time_tokens where user_id is null").await, 1);
}

#[tokio::test]
async fn wishes_for_a_password_count_strictly_by_e_mail_and_by_address() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;
    carry(&app, &post).await;
    app.advance(MINUTE);

    let mut by_email = Vec::new();
    for _ in 0..6 {
        by_email.push(ask(&app, "ana@example.com").await.status.as_u16());
    }
    let mut by_address = Vec::new();
    for number in 0..6 {
        let call = app.post(RESET).json(json!({ "email": format!("n{number}@example.com") })).from_address("10.9.9.9");
        by_address.push(call.send().await.status.as_u16());
    }

    assert_eq!(by_email, [200, 200, 200, 200, 200, 429]);
    assert_eq!(by_address, [200, 200, 200, 200, 200, 429]);
    carry(&app, &post).await;
    assert_eq!(mailbox.received().len(), 2, "of several wishes in one minute one mail is sent");
}

#[tokio::test]
async fn a_stolen_refresh_token_is_told_to_its_owner() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    carry(&app, &post).await;
    let refresh = || app.post("/api/v1/auth/refresh/").json(json!({ "refresh": ana.refresh })).send();

    refresh().await.expect(200);
    app.advance(MINUTE);
    refresh().await.expect_code(401, "token_revoked");
    refresh().await.expect_code(401, "token_revoked");
    carry(&app, &post).await;

    let mails = mailbox.received();
    assert_eq!(mails.len(), 2);
    assert!(mails[1].data.contains("Subject: A sign-in of yours was ended"));
}

#[tokio::test]
async fn a_changed_password_is_told_to_its_owner() {
    let (app, mailbox, post) = with_mail().await;
    let ana = app.register("ana@example.com").await;
    carry(&app, &post).await;

    let body = json!({ "old_password": PASSWORD, "new_password": NEW_PASSWORD });
    app.post("/api/v1/auth/change-password/").bearer(&ana.access).json(body).send().await.expect(200);
    carry(&app, &post).await;

    assert!(mailbox.received()[1].data.contains("Subject: Your password was changed"));
}

#[tokio::test]
async fn mail_trouble_fails_no_request_and_the_mail_is_tried_again_until_it_is_given_up() {
    let (app, mailbox, post) = with_mail().await;
    mailbox.refuse(true);
    app.register("ana@example.com").await;

    let refused = carry(&app, &post).await;
    let at_once = carry(&app, &post).await;
    app.advance(Duration::from_secs(30));
    mailbox.refuse(false);
    let later = carry(&app, &post).await;

    assert_eq!(refused, Delivered { postponed: 1, ..Delivered::default() });
    assert_eq!((at_once, later), (Delivered::default(), Delivered { sent: 1, ..Delivered::default() }));
    mailbox.refuse(true);
    app.register("ben@example.com").await;
    let mut outcomes = Delivered::default();
    for _ in 0..12 {
        let round = carry(&app, &post).await;
        outcomes = Delivered { postponed: outcomes.postponed + round.postponed, given_up: outcomes.given_up + round.given_up, ..outcomes };
        app.advance(HOUR * 7);
    }
    assert_eq!(outcomes, Delivered { sent: 0, postponed: 9, given_up: 1 });
    let told = app.count(
        "select count(*) from mail_outbox where last_error like '%not at home%' and last_error not like '%ben@%' and sealed_bodies = ''",
    );
    assert_eq!(told.await, 1);
}

#[tokio::test]
async fn a_worker_that_died_leaves_its_mail_to_the_next_after_the_lease() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;
    let lease_ends_at = app.now() + igny8::mail::rules::LEASE;

    let claimed = igny8::mail::store::claim_due(app.pool(), lease_ends_at, 10, app.now()).await.unwrap();
    let meanwhile = carry(&app, &post).await;
    app.advance(MINUTE * 10);
    let afterwards = carry(&app, &post).await;

    assert_eq!((claimed.len(), meanwhile.sent, afterwards.sent, mailbox.received().len()), (1, 0, 1, 1));
}

#[tokio::test]
async fn a_mail_that_no_secret_opens_any_more_is_given_up_and_keeps_no_other_waiting() {
    let (app, mailbox, post) = with_mail().await;
    app.register("ana@example.com").await;
    app.execute("update mail_outbox set dedupe_key = 'verify_email:of another'").await;
    app.register("ben@example.com").await;

    let delivered = carry(&app, &post).await;

    assert_eq!(delivered, Delivered { sent: 1, given_up: 1, ..Delivered::default() });
    assert_eq!(mailbox.received()[0].to, "ben@example.com");
    assert_eq!(app.count("select count(*) from mail_outbox where last_error = 'no secret of ours opens it'").await, 1);
}

#[tokio::test]
async fn several_workers_send_each_mail_once() {
    let (app, mailbox, post) = with_mail().await;
    let mut tx = igny8::db::begin(app.pool()).await.unwrap();
    for number in 0..100 {
        app.state.desk().outbox().enqueue_in(&mut tx, &mail(&format!("n{number}")), Delivery::Send, app.now()).await.unwrap();
    }
    tx.commit().await.unwrap();

    let workers = futures::future::join_all((0..4).map(|_| carry(&app, &post))).await;

    let mut addressees = mailbox.received().iter().map(|mail| mail.to.clone()).collect::<Vec<_>>();
    addressees.sort();
    addressees.dedup();
    assert_eq!((workers.iter().map(|worker| worker.sent).sum::<usize>(), mailbox.received().len(), addressees.len()), (100, 100, 100));
}

#[tokio::test]
async fn a_mail_is_there_exactly_if_its_cause_is_and_one_cause_writes_one() {
    let (app, _, _) = with_mail().await;

    let mut undone = igny8::db::begin(app.pool()).await.unwrap();
    app.state.desk().outbox().enqueue_in(&mut undone, &mail("ana"), Delivery::Send, app.now()).await.unwrap();
    undone.rollback().await.unwrap();
    let none = app.count("select count(*) from mail_outbox").await;
    let mut done = igny8::db::begin(app.pool()).await.unwrap();
    for _ in 0..2 {
        app.state.desk().outbox().enqueue_in(&mut done, &mail("ana"), Delivery::Send, app.now()).await.unwrap();
    }
    done.commit().await.unwrap();

    assert_eq!((none, app.count("select count(*) from mail_outbox").await), (0, 1));
}

#[tokio::test]
async fn mails_that_are_over_are_forgotten_after_thirty_days() {
    let (app, _, post) = with_mail().await;
    app.register("ana@example.com").await;
    carry(&app, &post).await;
    ask(&app, "nobody@example.com").await.expect(200);
    carry(&app, &post).await;
    app.register("ben@example.com").await;

    app.advance(DAY * 31);
    let purged = purge(app.pool(), app.now()).await.unwrap();
    igny8::auth::recovery::service::purge(app.pool(), app.now()).await.unwrap();

    assert_eq!((purged, app.count("select count(*) from mail_outbox where recipient = 'ben@example.com'").await), (2, 1));
    assert_eq!(app.count("select count(*) from one_time_tokens").await, 0);
}

#[tokio::test]
async fn without_a_mail_server_mails_become_files() {
    let folder = std::env::temp_dir().join(format!("igny8-mail-{}", std::process::id()));
    let dir = folder.clone();
    let app = TestApp::with(|config| config.data_dir = dir).await;
    app.register("ana@example.com").await;

    let delivered = carry(&app, &Post::of(&app.state.config).unwrap()).await;

    let files = std::fs::read_dir(folder.join("mail")).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let text = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((delivered.sent, files.len()), (1, 1));
    assert!(files[0].to_str().unwrap().ends_with("-verify_email.eml") && text.contains("To: ana@example.com"), "{text}");
}

fn mail(name: &str) -> Mail<'static> {
    let letter = Letter { subject: "s".to_owned(), text: "t".to_owned(), html: "<p>h</p>".to_owned() };
    let recipient = Box::leak(format!("{name}@example.com").into_boxed_str());
    Mail { kind: MailKind::Welcome, dedupe_key: format!("test:{name}"), recipient, letter }
}
