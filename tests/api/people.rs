//! An account's people: who may do what to whom, seats, owners, leaving and coming back, and staff on a customer's account.

use crate::support::{PASSWORD, Reply, Session, TestApp};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const USERS: &str = "/api/v1/auth/users/";
const ME: &str = "/api/v1/auth/me/";

/// Gives an account a plan with that many seats.
pub(crate) async fn with_seats(app: &TestApp, account: i64, seats: i32) {
    sqlx::query("update plans set max_users = $2 where plan_id = (select plan_id from accounts where account_id = $1)")
        .bind(account)
        .bind(seats)
        .execute(app.pool())
        .await
        .expect("the plan has seats");
}

async fn create(app: &TestApp, by: &Session, email: &str, role: &str) -> Reply {
    app.post(USERS).bearer(&by.access).json(json!({ "email": email, "role": role, "password": PASSWORD })).send().await
}

/// Makes somebody and signs him in.
async fn join(app: &TestApp, by: &Session, name: &str, role: &str) -> Session {
    create(app, by, &format!("{name}@example.com"), role).await.expect(201);
    app.log_in(&format!("{name}@example.com")).await
}

/// Makes another owner, who can only be made of somebody who is there.
async fn join_as_owner(app: &TestApp, by: &Session, name: &str) -> Session {
    let admin = join(app, by, name, "admin").await;
    change(app, by, admin.user_id, json!({ "role": "owner" })).await.expect(200);
    admin
}

async fn change(app: &TestApp, by: &Session, user: i64, body: Value) -> Reply {
    app.patch(&format!("{USERS}{user}/")).bearer(&by.access).json(body).send().await
}

async fn remove(app: &TestApp, by: &Session, user: i64) -> Reply {
    app.delete(&format!("{USERS}{user}/")).bearer(&by.access).send().await
}

async fn restore(app: &TestApp, by: &Session, user: i64) -> Reply {
    app.post(&format!("{USERS}{user}/restore/")).bearer(&by.access).send().await
}

async fn role_of(app: &TestApp, session: &Session) -> Value {
    app.get(ME).bearer(&session.access).send().await.expect(200).data()["user"]["role"].clone()
}

async fn audited(app: &TestApp, action: &str, account: i64) -> i64 {
    let query = "select count(*) from audit_log where action = $1 and account_id = $2";
    sqlx::query_scalar(query).bind(action).bind(account).fetch_one(app.pool()).await.expect("a count")
}

#[tokio::test]
async fn an_owner_makes_people_and_sees_them() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 3).await;

    let ben = create(&app, &ana, "BEN@example.com", "editor").await.expect(201);
    let without_password =
        app.post(USERS).bearer(&ana.access).json(json!({ "email": "cleo@example.com", "role": "viewer" })).send().await.expect(201);
    let taken = create(&app, &ana, "ben@example.com", "viewer").await;
    let list = app.get(USERS).bearer(&ana.access).send().await.expect(200);

    assert_eq!(
        (&ben.data()["email"], &ben.data()["role"], &ben.data()["username"]),
        (&json!("ben@example.com"), &json!("editor"), &json!("ben"))
    );
    assert_eq!(without_password.data()["email_verified"], false);
    let roles = list.body["results"].as_array().unwrap().iter().map(|user| user["role"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((list.body["count"].as_i64(), roles), (Some(3), vec!["owner", "editor", "viewer"]));
    assert!(taken.status.as_u16() == 400 || taken.status.as_u16() == 422);
    assert_eq!(app.count("select count(*) from mail_outbox where kind = 'welcome' and recipient = 'cleo@example.com'").await, 1);
    assert_eq!(audited(&app, "user.created", ana.account_id).await, 2);
}

#[tokio::test]
async fn nobody_gives_or_takes_what_stands_beside_or_above_him() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 10).await;
    let (admin, other_admin) = (join(&app, &ana, "admin", "admin").await, join(&app, &ana, "second", "admin").await);
    let (editor, viewer) = (join(&app, &ana, "editor", "editor").await, join(&app, &ana, "viewer", "viewer").await);

    let refused = [
        create(&app, &admin, "x@example.com", "admin").await,
        create(&app, &admin, "x@example.com", "owner").await,
        create(&app, &ana, "x@example.com", "owner").await,
        create(&app, &ana, "x@example.com", "developer").await,
        create(&app, &ana, "x@example.com", "system_bot").await,
        change(&app, &admin, ana.user_id, json!({ "role": "viewer" })).await,
        change(&app, &admin, other_admin.user_id, json!({ "is_active": false })).await,
        change(&app, &admin, editor.user_id, json!({ "role": "admin" })).await,
        change(&app, &admin, admin.user_id, json!({ "role": "owner" })).await,
        change(&app, &admin, admin.user_id, json!({ "is_active": false })).await,
        change(&app, &ana, editor.user_id, json!({ "role": "developer" })).await,
        remove(&app, &admin, ana.user_id).await,
        remove(&app, &viewer, editor.user_id).await,
        remove(&app, &editor, viewer.user_id).await,
    ];
    let without_the_role = [
        create(&app, &editor, "x@example.com", "viewer").await,
        change(&app, &viewer, viewer.user_id, json!({ "role": "owner" })).await,
        restore(&app, &editor, viewer.user_id).await,
        app.get(USERS).bearer(&editor.access).send().await,
    ];

    for (index, reply) in refused.into_iter().enumerate() {
        assert_eq!((reply.status.as_u16(), reply.body["code"].as_str()), (403, Some("role_not_allowed")), "{index}: {}", reply.text);
    }
    for reply in without_the_role {
        reply.expect_code(403, "role_required");
    }
    change(&app, &admin, editor.user_id, json!({ "role": "viewer" })).await.expect(200);
    assert_eq!(role_of(&app, &editor).await, "viewer", "judged anew on the next request");
    app.post("/api/v1/auth/sites/").bearer(&editor.access).json(json!({ "name": "Blog" })).send().await.expect_code(403, "role_required");
    change(&app, &admin, admin.user_id, json!({ "role": "editor", "first_name": "Ada" })).await.expect(200);
    assert_eq!(role_of(&app, &admin).await, "editor", "down is always allowed");
}

#[tokio::test]
async fn another_accounts_people_do_not_exist() {
    let app = TestApp::start().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);

    let without_id = |reply: Reply| {
        let reply = reply.expect_code(404, "not_found");
        reply.text.replace(reply.body["request_id"].as_str().unwrap(), "")
    };
    let mut pairs = Vec::new();
    for user in [ben.user_id, 999_999] {
        pairs.push([
            without_id(change(&app, &ana, user, json!({ "role": "viewer" })).await),
            without_id(remove(&app, &ana, user).await),
            without_id(restore(&app, &ana, user).await),
            without_id(app.post(&format!("{USERS}{user}/make-owner/")).bearer(&ana.access).send().await),
        ]);
    }

    assert_eq!(pairs[0], pairs[1]);
}

#[tokio::test]
async fn a_suspended_or_removed_user_is_out_at_once() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 10).await;
    let (ben, cleo) = (join(&app, &ana, "ben", "admin").await, join(&app, &ana, "cleo", "viewer").await);

    change(&app, &ana, ben.user_id, json!({ "is_active": false })).await.expect(200);
    remove(&app, &ana, cleo.user_id).await.expect(200);

    for session in [&ben, &cleo] {
        app.get(ME).bearer(&session.access).send().await.expect_code(401, "token_revoked");
        app.post("/api/v1/auth/refresh/").json(json!({ "refresh": session.refresh })).send().await.expect_code(401, "token_revoked");
        let body = json!({ "email": session.email, "password": PASSWORD });
        app.post("/api/v1/auth/login/").json(body).send().await.expect_code(401, "invalid_credentials");
    }
    change(&app, &ana, ben.user_id, json!({ "is_active": true })).await.expect(200);
    app.get(ME).bearer(&ben.access).send().await.expect_code(401, "token_revoked");
    app.log_in(&ben.email).await;
}

#[tokio::test]
async fn h_a_removed_user_frees_address_and_seat_and_can_come_back_until_his_time_is_over() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 2).await;
    let ben = join(&app, &ana, "ben", "editor").await;

    let gone = remove(&app, &ana, ben.user_id).await.expect(200);
    let elsewhere = app.register("ben@example.com").await;
    let taken = restore(&app, &ana, ben.user_id).await;
    app.delete("/api/v1/account/").bearer(&elsewhere.access).send().await.expect(200);
    let cleo = join(&app, &ana, "cleo", "viewer").await;
    let full = restore(&app, &ana, ben.user_id).await;
    remove(&app, &ana, cleo.user_id).await.expect(200);
    let back = restore(&app, &ana, ben.user_id).await;

    assert_eq!(gone.data()["restore_until"], "2026-03-15T00:00:00Z");
    taken.expect_code(409, "email_taken");
    let full = full.expect_code(422, "seat_limit_reached");
    assert_eq!((&full.body["limit"], &full.body["used"]), (&json!(2), &json!(2)));
    assert_eq!(back.expect(200).data()["role"], "editor");
    app.log_in("ben@example.com").await;
    assert_eq!(audited(&app, "user.deleted", ana.account_id).await, 2);
    assert_eq!(audited(&app, "user.restored", ana.account_id).await, 1);
}

#[tokio::test]
async fn h_after_his_time_a_removed_user_is_purged_and_his_row_names_nobody() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 2).await;
    let ben = join(&app, &ana, "ben", "editor").await;
    remove(&app, &ana, ben.user_id).await.expect(200);
    let purge = || igny8::accounts::people::service::purge_deleted(app.pool(), app.now());

    let early = purge().await.unwrap();
    app.advance(DAY * 14);
    let ana = app.log_in(&ana.email).await;
    app.execute("update accounts set status = 'active'").await;
    app.execute("update subscriptions set current_period_end = '2027-01-01Z'").await;
    let late = restore(&app, &ana, ben.user_id).await;
    let (purged, again) = (purge().await.unwrap(), purge().await.unwrap());

    late.expect_code(404, "not_found");
    assert_eq!((early, purged, again), (0, 1, 0));
    assert_eq!(app.count("select count(*) from users where email like '%ben%' or username like '%ben%'").await, 0);
    assert_eq!(app.count("select count(*) from users where purged_at is not null and password_hash = '!'").await, 1);
}

#[tokio::test]
async fn people_leave_but_the_last_owner_stays() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 10).await;
    let viewer = join(&app, &ana, "viewer", "viewer").await;

    let left = remove(&app, &viewer, viewer.user_id).await;
    let refused = [remove(&app, &ana, ana.user_id).await, change(&app, &ana, ana.user_id, json!({ "role": "admin" })).await];
    let ben = join_as_owner(&app, &ana, "ben").await;
    change(&app, &ben, ana.user_id, json!({ "is_active": false })).await.expect(200);
    let suspended_owner_is_none = remove(&app, &ben, ben.user_id).await;
    change(&app, &ben, ana.user_id, json!({ "is_active": true })).await.expect(200);
    let now_he_may = remove(&app, &ben, ben.user_id).await;

    left.expect(200);
    for reply in refused {
        reply.expect_code(409, "last_owner");
    }
    suspended_owner_is_none.expect_code(409, "last_owner");
    now_he_may.expect(200);
    assert_eq!(audited(&app, "user.left", ana.account_id).await, 2);
    app.verify().await;
}

#[tokio::test]
async fn an_owner_hands_the_account_over_and_is_admin_then() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 10).await;
    let (ben, cleo) = (join(&app, &ana, "ben", "editor").await, join(&app, &ana, "cleo", "admin").await);
    let hand_over = |by: &Session, to: i64| app.post(&format!("{USERS}{to}/make-owner/")).bearer(&by.access).send();

    hand_over(&cleo, cleo.user_id).await.expect_code(403, "role_not_allowed");
    hand_over(&ana, ben.user_id).await.expect(200);
    hand_over(&ana, ana.user_id).await.expect_code(403, "role_not_allowed");

    assert_eq!((role_of(&app, &ana).await, role_of(&app, &ben).await), (json!("admin"), json!("owner")));
    app.verify().await;
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one_each_time() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 10).await;
    let mut owner = ana;

    for round in 0..100 {
        let other = join_as_owner(&app, &owner, &format!("n{round}")).await;
        let (first, second) = tokio::join!(remove(&app, &owner, other.user_id), remove(&app, &other, owner.user_id));

        let statuses = [first.status.as_u16(), second.status.as_u16()];
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?} {} {}", first.text, second.text);
        assert!(statuses.iter().any(|status| [401, 409].contains(status)), "{statuses:?}");
        assert_eq!(app.count("select count(*) from users where role = 'owner' and deleted_at is null").await, 1);
        owner = if statuses[0] == 200 { owner } else { other };
    }
    app.verify().await;
}

#[tokio::test]
async fn the_last_seat_is_taken_once_however_many_want_it() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 6).await;

    let wishes = (0..50).map(|number| {
        let (app, ana) = (&app, &ana);
        async move {
            let email = format!("n{number}@example.com");
            // Half of them come by invitation: both kinds want the same seats.
            if number % 2 == 0 {
                return create(app, ana, &email, "viewer").await;
            }
            let body = json!({ "email": email, "role": "viewer" });
            app.post("/api/v1/auth/invitations/").bearer(&ana.access).json(body).send().await
        }
    });
    let replies = futures::future::join_all(wishes).await;

    let count = |status: u16| replies.iter().filter(|reply| reply.status.as_u16() == status).count();
    assert_eq!((count(201), count(422)), (5, 45), "{:?}", replies.iter().map(|reply| &reply.text).collect::<Vec<_>>());
    let query = "select (select count(*) from users where deleted_at is null) + (select count(*) from invitations)";
    assert_eq!(app.count(query).await, 6);
}

#[tokio::test]
async fn h_an_accounts_people_go_and_come_back_with_it() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    with_seats(&app, ana.account_id, 10).await;
    let (ben, gone) = (join(&app, &ana, "ben", "editor").await, join(&app, &ana, "gone", "viewer").await);
    remove(&app, &ana, gone.user_id).await.expect(200);
    let back = || app.post("/api/v1/account/restore/").json(json!({ "email": "ana@example.com", "password": PASSWORD })).send();

    app.delete("/api/v1/account/").bearer(&ana.access).send().await.expect(200);
    app.get(ME).bearer(&ben.access).send().await.expect_code(401, "token_revoked");
    let elsewhere = app.register("ben@example.com").await;
    let taken = back().await;
    app.delete("/api/v1/account/").bearer(&elsewhere.access).send().await.expect(200);
    app.advance(Duration::from_secs(60));
    let restored = back().await;

    taken.expect_code(409, "email_taken");
    restored.expect(200);
    app.log_in("ben@example.com").await;
    app.get(ME).bearer(&ben.access).send().await.expect_code(401, "token_revoked");
    let alive = app.count("select count(*) from users where account_id = 1 and deleted_at is null").await;
    let account = sqlx::query_scalar::<_, i64>("select count(*) from users where account_id = $1 and deleted_at is null");
    assert!(alive <= 2);
    assert_eq!(account.bind(ana.account_id).fetch_one(app.pool()).await.unwrap(), 2, "who was removed before stays so");
    back().await.expect(404);
    app.verify().await;
}

#[tokio::test]
async fn admins_name_the_editors_and_viewers_who_see_a_site() {
    let app = TestApp::start().await;
    let (ana, stranger) = (app.register("ana@example.com").await, app.register("stranger@example.com").await);
    with_seats(&app, ana.account_id, 10).await;
    let (editor, viewer) = (join(&app, &ana, "editor", "editor").await, join(&app, &ana, "viewer", "viewer").await);
    let site =
        app.post("/api/v1/auth/sites/").bearer(&ana.access).json(json!({ "name": "Blog" })).send().await.expect(201).data()["id"].clone();
    let path = format!("/api/v1/auth/sites/{site}/access/");
    let put = |by: &Session, users: Value| app.put(&path).bearer(&by.access).json(json!({ "user_ids": users })).send();
    let sites_of = |session: Session| {
        let app = &app;
        async move { app.get("/api/v1/auth/sites/").bearer(&session.access).send().await.expect(200).body["count"].as_i64() }
    };

    let before = (sites_of(editor.clone()).await, sites_of(viewer.clone()).await);
    put(&ana, json!([viewer.user_id, viewer.user_id])).await.expect(200);
    let after = (sites_of(editor.clone()).await, sites_of(viewer.clone()).await);
    let refused = [
        put(&ana, json!([stranger.user_id])).await,
        put(&ana, json!([ana.user_id])).await,
        put(&ana, json!([999_999])).await,
        put(&ana, json!("x")).await,
    ];
    let listed = app.get(&path).bearer(&ana.access).send().await.expect(200);
    put(&ana, json!([])).await.expect(200);

    assert_eq!((before, after), ((Some(0), Some(0)), (Some(0), Some(1))));
    for reply in refused {
        assert!(reply.expect_code(400, "invalid_input").body["errors"]["user_ids"].is_array());
    }
    assert_eq!(listed.data()["users"].as_array().unwrap().iter().map(|user| &user["id"]).collect::<Vec<_>>(), [&json!(viewer.user_id)]);
    assert_eq!(sites_of(viewer.clone()).await, Some(0));
    put(&editor, json!([])).await.expect_code(403, "role_required");
    put(&stranger, json!([])).await.expect_code(404, "not_found");
    assert_eq!(audited(&app, "site.access_changed", ana.account_id).await, 2);
}

#[tokio::test]
async fn a_developer_acts_on_a_customers_account_by_naming_it_and_leaves_word() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let account = ana.account_id.to_string();

    let seen = app.get("/api/v1/account/").bearer(&staff.access).header("x-account-id", &account).send().await.expect(200);
    let body = json!({ "name": "Blog" });
    let site = app.post("/api/v1/auth/sites/").bearer(&staff.access).header("x-account-id", &account).json(body).send().await.expect(201);
    let own = app.get("/api/v1/account/").bearer(&staff.access).send().await.expect(200);

    assert_eq!((&seen.data()["id"], &own.data()["id"]), (&json!(ana.account_id), &json!(staff.account_id)));
    assert_eq!(app.get("/api/v1/auth/sites/").bearer(&ana.access).send().await.expect(200).body["results"][0]["id"], site.data()["id"]);
    let rows = sqlx::query_as::<_, (String, String, i64)>(
        "select action, actor, account_id from audit_log where actor = $1 and account_id = $2 order by audit_id",
    );
    let rows = rows.bind(format!("user:{}", staff.user_id)).bind(ana.account_id).fetch_all(app.pool()).await.unwrap();
    let actions = rows.iter().map(|(action, _, _)| action.as_str()).collect::<Vec<_>>();
    assert_eq!(actions, ["account.entered_by_staff", "site.created"]);
}

#[tokio::test]
async fn only_developers_name_another_account_and_unknown_ones_do_not_exist() {
    let app = TestApp::start().await;
    let (ana, ben, staff) = (app.register("ana@example.com").await, app.register("ben@example.com").await, app.operator().await);
    with_seats(&app, staff.account_id, 10).await;
    let admin_of_system = join(&app, &staff, "sysadmin", "admin").await;
    let call =
        |session: &Session, account: &str| app.get("/api/v1/account/").bearer(&session.access).header("x-account-id", account).send();

    for session in [&ana, &admin_of_system] {
        for account in [ben.account_id, session.account_id, 999_999] {
            call(session, &account.to_string()).await.expect_code(403, "developer_required");
        }
    }
    app.delete("/api/v1/account/").bearer(&ben.access).send().await.expect(200);
    for account in [ben.account_id.to_string(), "999999".to_owned(), "x".to_owned(), String::new(), "-1".to_owned()] {
        call(&staff, &account).await.expect_code(404, "not_found");
    }
    let both = app.get("/api/v1/account/").bearer(&staff.access).header("x-account-id", "1").header("x-account-id", "2");
    both.send().await.expect_code(404, "not_found");
}

#[tokio::test]
async fn a_developer_who_acts_for_a_customer_manages_his_people_but_is_none_of_them() {
    let app = TestApp::start().await;
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    with_seats(&app, ana.account_id, 10).await;
    let account = ana.account_id.to_string();
    let ben = join(&app, &ana, "ben", "admin").await;
    let call = |method: &str, path: String| {
        let call = match method {
            "DELETE" => app.delete(&path),
            "PATCH" => app.patch(&path),
            _ => app.post(&path),
        };
        call.bearer(&staff.access).header("x-account-id", &account)
    };

    call("PATCH", format!("{USERS}{}/", ben.user_id)).json(json!({ "role": "owner" })).send().await.expect(200);
    call("DELETE", format!("{USERS}{}/", ana.user_id)).send().await.expect(200);
    let last = call("DELETE", format!("{USERS}{}/", ben.user_id)).send().await;
    let himself = call("DELETE", format!("{USERS}{}/", staff.user_id)).send().await;

    last.expect_code(409, "last_owner");
    himself.expect_code(404, "not_found");
    app.get(ME).bearer(&staff.access).send().await.expect(200);
}
