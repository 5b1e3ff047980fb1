//! Invitations: by mail, once, for seven days, each with a seat of its own.

use crate::{
    people::with_seats,
    support::{Mailbox, PASSWORD, Reply, Session, TestApp},
};
use igny8::mail::{post::Post, service::deliver};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const INVITATIONS: &str = "/api/v1/auth/invitations/";
const ACCEPT: &str = "/api/v1/auth/invitations/accept/";

/// A server with a mail server, and an owner with that many seats.
async fn house(seats: i32) -> (TestApp, Mailbox, Session) {
    let mailbox = Mailbox::open().await;
    let url = mailbox.url();
    let app = TestApp::with(|config| {
        config.smtp_url = Some(url.into());
        config.mail_from = "no-reply@example.com".to_owned();
    })
    .await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, seats).await;
    app.execute("delete from mail_outbox").await;
    (app, mailbox, ana)
}

async fn invite(app: &TestApp, by: &Session, email: &str, role: &str) -> Reply {
    app.post(INVITATIONS).bearer(&by.access).json(json!({ "email": email, "role": role })).send().await
}

async fn tokens(app: &TestApp, mailbox: &Mailbox) -> Vec<String> {
    let post = Post::of(&app.state.config).expect("a post");
    deliver(app.pool(), &post, app.state.authenticator.vault(), app.now()).await.expect("the outbox can be read");
    mailbox.tokens()
}

async fn accept(app: &TestApp, token: &str) -> Reply {
    app.post(ACCEPT).json(json!({ "token": token, "password": PASSWORD, "first_name": "Ben" })).send().await
}

async fn open_count(app: &TestApp, by: &Session) -> Value {
    app.get(INVITATIONS).bearer(&by.access).send().await.expect(200).body["count"].clone()
}

fn at(id: &Value, tail: &str) -> String {
    format!("{INVITATIONS}{id}/{tail}")
}

#[tokio::test]
async fn who_is_invited_accepts_by_his_token_and_is_signed_in() {
    let (app, mailbox, ana) = house(2).await;

    let sent = invite(&app, &ana, "Ben@Example.com", "editor").await.expect(201);
    let listed = open_count(&app, &ana).await;
    let token = tokens(&app, &mailbox).await.remove(0);
    let welcome = accept(&app, &token).await.expect(201);
    let again = accept(&app, &token).await;

    assert_eq!((&sent.data()["email"], &sent.data()["expires_at"]), (&json!("ben@example.com"), &json!("2026-03-08T00:00:00Z")));
    let user = &welcome.data()["user"];
    assert_eq!((&user["role"], &user["email_verified"], &user["account"]["id"]), (&json!("editor"), &json!(true), &json!(ana.account_id)));
    let me = app.get("/api/v1/auth/me/").bearer(welcome.data()["access"].as_str().unwrap()).send().await.expect(200);
    assert_eq!(me.data()["user"]["first_name"], "Ben");
    again.expect_code(400, "invalid_input");
    assert_eq!((listed, open_count(&app, &ana).await), (json!(1), json!(0)));
    assert_eq!(mailbox.received()[0].to, "ben@example.com");
    assert_eq!(app.count("select count(*) from audit_log where action in ('invitation.sent', 'invitation.accepted')").await, 2);
    app.log_in("ben@example.com").await;
}

#[tokio::test]
async fn an_open_invitation_takes_a_seat_and_accepting_it_no_second_one() {
    let (app, mailbox, ana) = house(2).await;

    invite(&app, &ana, "ben@example.com", "viewer").await.expect(201);
    let full = invite(&app, &ana, "cleo@example.com", "viewer").await;
    let token = tokens(&app, &mailbox).await.remove(0);
    accept(&app, &token).await.expect(201);
    let still_full = invite(&app, &ana, "cleo@example.com", "viewer").await;

    for reply in [full, still_full] {
        let reply = reply.expect_code(422, "seat_limit_reached");
        assert_eq!((&reply.body["limit"], &reply.body["used"]), (&json!(2), &json!(2)));
    }
}

#[tokio::test]
async fn a_revoked_invitation_opens_nothing_and_frees_its_seat() {
    let (app, mailbox, ana) = house(2).await;
    let id = invite(&app, &ana, "ben@example.com", "viewer").await.expect(201).data()["id"].clone();
    let token = tokens(&app, &mailbox).await.remove(0);

    app.delete(&at(&id, "")).bearer(&ana.access).send().await.expect(200);
    let refused = accept(&app, &token).await;
    let again = app.delete(&at(&id, "")).bearer(&ana.access).send().await;
    let other = invite(&app, &ana, "cleo@example.com", "viewer").await;

    refused.expect_code(400, "invalid_input");
    again.expect_code(404, "not_found");
    other.expect(201);
}

#[tokio::test]
async fn an_invitation_ends_after_seven_days_and_can_be_sent_again() {
    let (app, mailbox, ana) = house(2).await;
    let id = invite(&app, &ana, "ben@example.com", "viewer").await.expect(201).data()["id"].clone();
    let first = tokens(&app, &mailbox).await.remove(0);

    app.advance(DAY * 7);
    let ana = app.log_in(&ana.email).await;
    let late = accept(&app, &first).await;
    let cleo = invite(&app, &ana, "cleo@example.com", "viewer").await.expect(201).data()["id"].clone();
    let full = app.post(&at(&id, "resend/")).bearer(&ana.access).send().await;
    app.delete(&at(&cleo, "")).bearer(&ana.access).send().await.expect(200);
    let resent = app.post(&at(&id, "resend/")).bearer(&ana.access).send().await;
    let newest = tokens(&app, &mailbox).await.pop().unwrap();

    late.expect_code(400, "invalid_input");
    full.expect_code(422, "seat_limit_reached");
    assert_eq!(resent.expect(200).data()["is_expired"], false);
    accept(&app, &first).await.expect_code(400, "invalid_input");
    accept(&app, &newest).await.expect(201);
}

#[tokio::test]
async fn who_is_here_or_invited_is_not_invited_again_until_it_has_ended() {
    let (app, _, ana) = house(5).await;
    invite(&app, &ana, "ben@example.com", "viewer").await.expect(201);

    let here = invite(&app, &ana, "ana@example.com", "viewer").await;
    let invited = invite(&app, &ana, "BEN@example.com", "viewer").await;
    app.advance(DAY * 7);
    let ana = app.log_in(&ana.email).await;
    let ended = invite(&app, &ana, "ben@example.com", "editor").await;

    here.expect_code(409, "already_member");
    invited.expect_code(409, "already_invited");
    ended.expect(201);
    assert_eq!(open_count(&app, &ana).await, 1);
}

#[tokio::test]
async fn who_has_a_user_elsewhere_is_told_so_only_when_he_accepts() {
    let (app, mailbox, ana) = house(2).await;
    app.register("ben@example.com").await;
    app.execute("delete from mail_outbox").await;

    let invited = invite(&app, &ana, "ben@example.com", "viewer").await;
    let token = tokens(&app, &mailbox).await.remove(0);
    let accepted = accept(&app, &token).await;

    invited.expect(201);
    accepted.expect_code(409, "email_taken");
    assert_eq!(app.count("select count(*) from users where deleted_at is null").await, 2);
}

#[tokio::test]
async fn nobody_invites_to_his_own_height_and_editors_invite_nobody() {
    let (app, mailbox, ana) = house(9).await;
    invite(&app, &ana, "admin@example.com", "admin").await.expect(201);
    invite(&app, &ana, "editor@example.com", "editor").await.expect(201);
    let mailed = tokens(&app, &mailbox).await;
    let admin = Session::of(&accept(&app, &mailed[0]).await.expect(201));
    let editor = Session::of(&accept(&app, &mailed[1]).await.expect(201));
    let id = invite(&app, &ana, "second@example.com", "admin").await.expect(201).data()["id"].clone();

    let refused = [
        invite(&app, &ana, "x@example.com", "owner").await,
        invite(&app, &ana, "x@example.com", "developer").await,
        invite(&app, &admin, "x@example.com", "admin").await,
        app.delete(&at(&id, "")).bearer(&admin.access).send().await,
        app.post(&at(&id, "resend/")).bearer(&admin.access).send().await,
    ];
    let editors = [invite(&app, &editor, "x@example.com", "viewer").await, app.get(INVITATIONS).bearer(&editor.access).send().await];

    for reply in refused {
        reply.expect_code(403, "role_not_allowed");
    }
    for reply in editors {
        reply.expect_code(403, "role_required");
    }
}

#[tokio::test]
async fn another_accounts_invitations_do_not_exist() {
    let (app, _, ana) = house(2).await;
    let id = invite(&app, &ana, "cleo@example.com", "viewer").await.expect(201).data()["id"].clone();
    let ben = app.register("ben@example.com").await;

    let revoked = app.delete(&at(&id, "")).bearer(&ben.access).send().await;
    let resent = app.post(&at(&id, "resend/")).bearer(&ben.access).send().await;

    revoked.expect_code(404, "not_found");
    resent.expect_code(404, "not_found");
    assert_eq!(open_count(&app, &ana).await, 1);
}

#[tokio::test]
async fn of_parallel_acceptances_of_one_invitation_one_comes_in() {
    let (app, mailbox, ana) = house(5).await;
    invite(&app, &ana, "ben@example.com", "viewer").await.expect(201);
    let token = tokens(&app, &mailbox).await.remove(0);

    let replies = futures::future::join_all((0..20).map(|_| accept(&app, &token))).await;

    let count = |status: u16| replies.iter().filter(|reply| reply.status.as_u16() == status).count();
    assert_eq!((count(201), count(400)), (1, 19));
    assert_eq!(app.count("select count(*) from users where deleted_at is null").await, 2);
}

#[tokio::test]
async fn an_invitation_to_a_deleted_account_or_a_plan_without_seats_opens_nothing() {
    let (app, mailbox, ana) = house(3).await;
    invite(&app, &ana, "ben@example.com", "viewer").await.expect(201);
    invite(&app, &ana, "cleo@example.com", "viewer").await.expect(201);
    let mailed = tokens(&app, &mailbox).await;

    with_seats(&app, ana.account_id, 2).await;
    accept(&app, &mailed[0]).await.expect(201);
    let smaller = accept(&app, &mailed[1]).await;
    with_seats(&app, ana.account_id, 3).await;
    app.delete("/api/v1/account/").bearer(&ana.access).send().await.expect(200);
    let deleted = accept(&app, &mailed[1]).await;

    smaller.expect_code(422, "seat_limit_reached");
    deleted.expect_code(400, "invalid_input");
}
