//! Sites within the plan's limit, seen by those who may; deleted, restored and purged; and the keys of their plugins.

use crate::support::{Reply, Session, TestApp};
use igny8::{clock::Timestamp, sites::service::purge_deleted};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const SITES: &str = "/api/v1/auth/sites/";
const VERIFY: &str = "/api/v1/integration/verify-key/";
const DAY: Duration = Duration::from_secs(86_400);

fn path(id: &Value) -> String {
    format!("/api/v1/auth/sites/{id}/")
}

fn key_path(id: &Value) -> String {
    format!("/api/v1/auth/sites/{id}/api-key/")
}

fn codes(replies: &[&Reply]) -> Vec<String> {
    replies.iter().map(|reply| reply.body["code"].as_str().unwrap_or("").to_owned()).collect()
}

async fn put_on_plan(app: &TestApp, session: &Session, slug: &str) {
    let update = sqlx::query("update accounts set plan_id = (select plan_id from plans where slug = $2) where account_id = $1");
    update.bind(session.account_id).bind(slug).execute(app.pool()).await.expect("the statement runs");
}

async fn set_role(app: &TestApp, session: &Session, role: &str) {
    sqlx::query("update users set role = $2 where user_id = $1")
        .bind(session.user_id)
        .bind(role)
        .execute(app.pool())
        .await
        .expect("the statement runs");
}

async fn set_status(app: &TestApp, session: &Session, status: &str) {
    sqlx::query("update accounts set status = $2 where account_id = $1")
        .bind(session.account_id)
        .bind(status)
        .execute(app.pool())
        .await
        .expect("the statement runs");
}

async fn create(app: &TestApp, session: &Session, name: &str) -> Value {
    app.post(SITES).bearer(&session.access).json(json!({"name": name})).send().await.expect(201).data()["id"].clone()
}

async fn mint(app: &TestApp, session: &Session, site: &Value) -> String {
    let reply = app.post(&key_path(site)).bearer(&session.access).send().await.expect(201);
    reply.data()["key"].as_str().expect("a key").to_owned()
}

async fn delete(app: &TestApp, session: &Session, site: &Value) -> Reply {
    app.delete(&path(site)).bearer(&session.access).send().await.expect(200)
}

async fn restore(app: &TestApp, session: &Session, site: &Value) -> Reply {
    app.post(&format!("/api/v1/auth/sites/{site}/restore/")).bearer(&session.access).send().await
}

async fn seen(app: &TestApp, session: &Session) -> Vec<Value> {
    let reply = app.get(SITES).bearer(&session.access).send().await.expect(200);
    let ids = reply.body["results"].as_array().expect("a list").iter().map(|site| site["id"].clone()).collect::<Vec<_>>();
    assert_eq!(reply.body["count"], json!(ids.len()));
    ids
}

async fn audit_actions(app: &TestApp, site: &Value) -> Vec<String> {
    let actions = sqlx::query_scalar("select action from audit_log where target = $1 order by audit_id");
    actions.bind(format!("site:{site}")).fetch_all(app.pool()).await.expect("the audit log")
}

#[tokio::test]
async fn a_site_is_created_under_a_word_made_from_its_name() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let body = json!({"name": " Home & Garden Site ", "url": "https://garden.example.com"});
    let created = app.post("/api/v1/auth/sites").bearer(&ana.access).json(body).send().await.expect(201);

    let site = created.data();
    let expected = json!({
        "id": site["id"], "name": "Home & Garden Site", "slug": "home-garden-site", "url": "https://garden.example.com", "is_active": true, "is_frozen": false,
        "industry": null, "sectors_count": 0, "url_conflict": null, "created_at": "2026-03-01T00:00:00Z", "updated_at": "2026-03-01T00:00:00Z",
    });
    assert_eq!(site, &expected);
    assert_eq!(app.get(&path(&site["id"])).bearer(&ana.access).send().await.expect(200).data(), &expected);
    assert_eq!(seen(&app, &ana).await, [site["id"].clone()]);
    assert_eq!(audit_actions(&app, &site["id"]).await, ["site.created"]);
}

#[tokio::test]
async fn a_form_creates_a_site_too() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let created = app.post(SITES).bearer(&ana.access).form("name=My+Blog&url=").send().await.expect(201);

    assert_eq!((&created.data()["slug"], &created.data()["url"]), (&json!("my-blog"), &Value::Null));
}

#[tokio::test]
async fn a_word_made_from_a_name_gets_a_number_and_a_given_one_that_is_taken_is_refused() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "scale").await;
    create(&app, &ana, "Blog").await;

    let second = app.post(SITES).bearer(&ana.access).json(json!({"name": "Blog!"})).send().await.expect(201);
    let nameless = app.post(SITES).bearer(&ana.access).json(json!({"name": "日本"})).send().await.expect(201);
    let taken = app.post(SITES).bearer(&ana.access).json(json!({"name": "Other", "slug": "blog"})).send().await.expect(400);
    let given = app.post(SITES).bearer(&ana.access).json(json!({"name": "Other", "slug": "other-blog"})).send().await.expect(201);

    assert_eq!(
        (&second.data()["slug"], &nameless.data()["slug"], &given.data()["slug"]),
        (&json!("blog-2"), &json!("site"), &json!("other-blog"))
    );
    assert_eq!(taken.body["errors"]["slug"].as_array().unwrap().len(), 1);
    let bea = app.register("bea@example.com").await;
    let elsewhere = app.post(SITES).bearer(&bea.access).json(json!({"name": "Blog", "slug": "blog"})).send().await.expect(201);
    assert_eq!(elsewhere.data()["slug"], "blog");
}

#[tokio::test]
async fn every_wrong_field_of_a_site_is_named_at_once() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let body = json!({"name": "  ", "slug": "Not A Slug", "url": "javascript:alert(1)"});
    let reply = app.post(SITES).bearer(&ana.access).json(body).send().await.expect(400);

    assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "slug", "url"]);
}

#[tokio::test]
async fn a_plan_without_room_refuses_another_site_and_says_how_many_there_are() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    create(&app, &ana, "Only one").await;

    let reply = app.post(SITES).bearer(&ana.access).json(json!({"name": "One more"})).send().await.expect(422);

    assert_eq!((&reply.body["code"], &reply.body["limit"], &reply.body["used"]), (&json!("site_limit_reached"), &json!(1), &json!(1)));
}

#[tokio::test]
async fn fifty_creations_at_once_fill_the_plan_exactly() {
    let app = Arc::new(TestApp::start().await);
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "growth").await;

    let mut creations = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (app, access) = (Arc::clone(&app), ana.access.clone());
        creations.spawn(async move { app.post(SITES).bearer(&access).json(json!({"name": "Blog"})).send().await.status.as_u16() });
    }
    let mut statuses = creations.join_all().await;
    statuses.sort_unstable();

    assert_eq!(statuses, [[201].repeat(3), [422].repeat(47)].concat());
    assert_eq!(seen(&app, &ana).await.len(), 3);
    app.verify().await;
}

#[tokio::test]
async fn fifty_creations_at_once_never_share_a_word() {
    let app = Arc::new(TestApp::start().await);
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "enterprise").await;
    let at_once = async |body: Value| {
        let mut creations = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (app, access, body) = (Arc::clone(&app), ana.access.clone(), body.clone());
            creations.spawn(async move { app.post(SITES).bearer(&access).json(body).send().await });
        }
        creations.join_all().await
    };

    let given = at_once(json!({"name": "Shop", "slug": "shop"})).await;
    let made = at_once(json!({"name": "Blog"})).await;

    let statuses = |replies: &[Reply], status: u16| replies.iter().filter(|reply| reply.status.as_u16() == status).count();
    assert_eq!((statuses(&given, 201), statuses(&given, 400)), (1, 49));
    // Enterprise has room for twenty.
    assert_eq!((statuses(&made, 201), statuses(&made, 422)), (19, 31));
    assert_eq!(app.count("select count(distinct slug) from sites where deleted_at is null").await, 20);
    app.verify().await;
}

#[tokio::test]
async fn editor_and_viewer_see_only_what_was_granted_and_an_editor_what_he_creates() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "growth").await;
    let hidden = create(&app, &ana, "Hidden").await;

    set_role(&app, &ana, "editor").await;
    let seen_before = seen(&app, &ana).await;
    let own = create(&app, &ana, "Own").await;
    let seen_after = seen(&app, &ana).await;

    assert_eq!((seen_before, seen_after), (vec![], vec![own.clone()]));
    app.get(&path(&own)).bearer(&ana.access).send().await.expect(200);
    app.get(&path(&hidden)).bearer(&ana.access).send().await.expect(404);
    app.patch(&path(&own)).bearer(&ana.access).json(json!({"name": "Mine"})).send().await.expect(200);
    app.patch(&path(&hidden)).bearer(&ana.access).json(json!({"name": "Mine"})).send().await.expect(404);
    set_role(&app, &ana, "viewer").await;
    assert_eq!(seen(&app, &ana).await, [own]);
    set_role(&app, &ana, "admin").await;
    assert_eq!(seen(&app, &ana).await.len(), 2);
}

#[tokio::test]
async fn each_role_may_do_what_the_contract_gives_it_and_no_more() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "growth").await;
    let site = create(&app, &ana, "Site").await;
    let as_role = async |role: &str| {
        set_role(&app, &ana, role).await;
        [
            app.post(SITES).bearer(&ana.access).json(json!({"name": ""})).send().await.status.as_u16(),
            app.patch(&path(&json!(0))).bearer(&ana.access).send().await.status.as_u16(),
            app.delete(&path(&json!(0))).bearer(&ana.access).send().await.status.as_u16(),
            restore(&app, &ana, &json!(0)).await.status.as_u16(),
            app.post(&key_path(&json!(0))).bearer(&ana.access).send().await.status.as_u16(),
            app.delete(&key_path(&json!(0))).bearer(&ana.access).send().await.status.as_u16(),
            app.get(&key_path(&site)).bearer(&ana.access).send().await.status.as_u16(),
        ]
    };

    // Create (an empty name: 400 where the role suffices), change, delete, restore, make a key, revoke, list keys.
    assert_eq!(as_role("viewer").await, [403, 403, 403, 403, 403, 403, 403]);
    assert_eq!(as_role("editor").await, [400, 404, 403, 403, 403, 403, 403]);
    assert_eq!(as_role("admin").await, [400, 404, 404, 404, 404, 404, 200]);
    assert_eq!(as_role("owner").await, [400, 404, 404, 404, 404, 404, 200]);
}

#[tokio::test]
async fn another_tenants_site_looks_exactly_like_one_that_is_not_there() {
    let app = TestApp::start().await;
    let (ana, eve) = (app.register("ana@example.com").await, app.register("eve@example.com").await);
    let site = create(&app, &ana, "Site").await;
    let look = async |id: &Value| {
        let replies = [
            app.get(&path(id)).bearer(&eve.access).send().await.expect(404),
            app.patch(&path(id)).bearer(&eve.access).json(json!({"name": "Eve's"})).send().await.expect(404),
            app.delete(&path(id)).bearer(&eve.access).send().await.expect(404),
            restore(&app, &eve, id).await.expect(404),
            app.get(&key_path(id)).bearer(&eve.access).send().await.expect(404),
            app.post(&key_path(id)).bearer(&eve.access).send().await.expect(404),
            app.delete(&key_path(id)).bearer(&eve.access).send().await.expect(404),
        ];
        replies.map(|reply| (reply.body["code"].clone(), reply.body["error"].clone(), reply.body.as_object().map(serde_json::Map::len)))
    };

    let (foreign, unknown) = (look(&site).await, look(&json!(999_999)).await);
    delete(&app, &ana, &site).await;
    let foreign_and_deleted = look(&site).await;

    assert_eq!(foreign, unknown);
    assert_eq!(foreign_and_deleted, unknown);
    for id in ["x", "-1", "1e3", "99999999999999999999", "%00"] {
        app.get(&format!("/api/v1/auth/sites/{id}/")).bearer(&eve.access).send().await.expect(404);
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_clears_the_address() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let body = json!({"name": "Site", "url": "https://a.example.com"});
    let site = app.post(SITES).bearer(&ana.access).json(body).send().await.expect(201).data()["id"].clone();
    let patch = async |body: Value| app.patch(&path(&site)).bearer(&ana.access).json(body).send().await.expect(200);

    app.clock.advance(Duration::from_secs(5));
    let renamed = patch(json!({"name": "New name"})).await;
    let cleared = patch(json!({"url": null, "is_active": false})).await;
    let same = patch(json!({"name": "New name"})).await;

    assert_eq!((&renamed.data()["url"], &renamed.data()["slug"]), (&json!("https://a.example.com"), &json!("site")));
    assert_eq!(renamed.data()["updated_at"], "2026-03-01T00:00:05Z");
    assert_eq!(
        (&cleared.data()["url"], &cleared.data()["is_active"], &cleared.data()["name"]),
        (&Value::Null, &json!(false), &json!("New name"))
    );
    assert_eq!(same.data(), cleared.data());
    assert_eq!(audit_actions(&app, &site).await, ["site.created", "site.changed", "site.changed"]);
}

#[tokio::test]
async fn h_a_deleted_site_frees_its_word_and_comes_back_until_its_time_is_over() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Blog").await;

    let deleted = delete(&app, &ana, &site).await;

    assert_eq!(deleted.data()["restore_until"], "2026-03-15T00:00:00Z");
    app.get(&path(&site)).bearer(&ana.access).send().await.expect(404);
    app.delete(&path(&site)).bearer(&ana.access).send().await.expect(404);
    assert!(seen(&app, &ana).await.is_empty());
    let back = restore(&app, &ana, &site).await.expect(200);
    assert_eq!((&back.data()["id"], &back.data()["slug"]), (&site, &json!("blog")));
    restore(&app, &ana, &site).await.expect(404);
    assert_eq!(audit_actions(&app, &site).await, ["site.created", "site.deleted", "site.restored"]);
}

#[tokio::test]
async fn a_site_comes_back_only_if_its_word_and_the_plan_have_room() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Blog").await;
    delete(&app, &ana, &site).await;
    let heir = create(&app, &ana, "Blog").await;

    let full = restore(&app, &ana, &site).await.expect(422);
    put_on_plan(&app, &ana, "growth").await;
    let taken = restore(&app, &ana, &site).await.expect(409);
    delete(&app, &ana, &heir).await;
    restore(&app, &ana, &site).await.expect(200);

    assert_eq!(codes(&[&full, &taken]), ["site_limit_reached", "slug_taken"]);
    assert_eq!((&full.body["limit"], &full.body["used"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn h_what_was_not_restored_in_time_is_gone_and_then_purged_with_its_keys() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    // The retention outlives the trial: the account must be one that still may act.
    put_on_plan(&app, &ana, "growth").await;
    sqlx::query("update accounts set deletion_retention_days = 10 where account_id = $1")
        .bind(ana.account_id)
        .execute(app.pool())
        .await
        .unwrap();
    let (site, kept) = (create(&app, &ana, "Blog").await, create(&app, &ana, "Kept").await);
    mint(&app, &ana, &site).await;
    delete(&app, &ana, &site).await;
    let purge = async || purge_deleted(app.pool(), 100, app.now()).await.unwrap();

    // An access token lives an hour, so the calls after the jump are the service's and the database's own.
    app.clock.advance(10 * DAY - Duration::from_micros(1));
    let too_early = purge().await;
    app.clock.advance(Duration::from_micros(1));
    let in_time = purge().await;

    assert_eq!((too_early, in_time, purge().await), (0, 1, 0));
    let left = sqlx::query_as::<_, (i64, i64)>("select (select count(*) from sites), (select count(*) from site_keys)");
    assert_eq!(left.fetch_one(app.pool()).await.unwrap(), (1, 0));
    let id = sqlx::query_scalar::<_, i64>("select site_id from sites").fetch_one(app.pool()).await.unwrap();
    assert_eq!(json!(id), kept);
}

#[tokio::test]
async fn h_a_site_can_be_restored_up_to_its_last_microsecond_and_not_after() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Blog").await;
    let ends_in = async |micros: i64| {
        let ends_at = app.now() + chrono::TimeDelta::microseconds(micros);
        sqlx::query("update sites set restore_until = $1 where deleted_at is not null").bind(ends_at).execute(app.pool()).await.unwrap();
    };

    delete(&app, &ana, &site).await;
    ends_in(0).await;
    restore(&app, &ana, &site).await.expect(404);
    ends_in(1).await;

    restore(&app, &ana, &site).await.expect(200);
}

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_is_kept() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;

    let created = app.post(&key_path(&site)).bearer(&ana.access).send().await.expect(201);
    let listed = app.get(&key_path(&site)).bearer(&ana.access).send().await.expect(200);

    let key = created.data()["key"].as_str().unwrap();
    assert!(key.starts_with("igny8_") && key.ends_with(created.data()["last_four"].as_str().unwrap()));
    assert!(!listed.text.contains(key) && listed.body["results"][0]["id"] == created.data()["id"]);
    let planted = format!("%{}%", &key[6..]);
    let rows = sqlx::query_scalar::<_, i64>(
        "select (select count(*) from site_keys where site_keys::text like $1) + (select count(*) from audit_log where audit_log::text like $1)",
    );
    assert_eq!(rows.bind(planted).fetch_one(app.pool()).await.unwrap(), 0);
    assert_eq!(audit_actions(&app, &site).await, ["site.created", "site_key.created"]);
}

#[tokio::test]
async fn a_plugin_learns_by_its_key_who_it_is_and_what_it_may_use() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;

    let by_igny8_header = app.get(VERIFY).header("X-IGNY8-API-KEY", &key).send().await.expect(200);
    let by_api_key_header = app.get(VERIFY).header("X-API-Key", &key).send().await.expect(200);
    let by_bearer = app.get(VERIFY).bearer(&key).send().await.expect(200);

    let data = by_bearer.data();
    assert_eq!((by_igny8_header.data(), by_api_key_header.data()), (data, data));
    assert_eq!(data["valid"], true);
    assert_eq!(data["site"], json!({"id": site, "name": "Site", "slug": "site", "url": null}));
    assert_eq!((&data["account"]["status"], &data["account"]["plan"]["slug"]), (&json!("trial"), &json!("free-trial")));
    assert_eq!((&data["credits"], &data["limits"]), (&json!(2000), &json!({"max_sites": 1, "max_sectors": 3, "credits_per_month": 2000})));
    assert_eq!(data["server_time"], "2026-03-01T00:00:00Z");
    let by_person = app.get(VERIFY).bearer(&ana.access).send().await.expect(403);
    assert_eq!(by_person.body["code"], "site_key_required");
}

#[tokio::test]
async fn a_site_key_sees_its_own_site_only_and_manages_nothing() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "growth").await;
    let (own, other) = (create(&app, &ana, "Own").await, create(&app, &ana, "Other").await);
    let key = mint(&app, &ana, &own).await;

    let list = app.get(SITES).key(&key).send().await.expect(200);
    app.get(&path(&own)).key(&key).send().await.expect(200);
    app.get(&path(&other)).key(&key).send().await.expect(404);
    let refused = [
        app.post(SITES).key(&key).json(json!({"name": "Mine"})).send().await.expect(403),
        app.patch(&path(&own)).key(&key).json(json!({"name": "Mine"})).send().await.expect(403),
        app.delete(&path(&own)).key(&key).send().await.expect(403),
        app.get(&key_path(&own)).key(&key).send().await.expect(403),
        app.post(&key_path(&own)).key(&key).send().await.expect(403),
        app.delete(&key_path(&own)).key(&key).send().await.expect(403),
    ];

    assert_eq!((&list.body["count"], &list.body["results"][0]["id"]), (&json!(1), &own));
    assert_eq!(codes(&refused.each_ref()), ["site_key_not_allowed"; 6]);
}

#[tokio::test]
async fn a_rotated_key_lives_on_for_its_overlap_and_without_one_not_at_all() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let rotate = async |minutes: i64| {
        let reply = app.post(&key_path(&site)).bearer(&ana.access).json(json!({"overlap_minutes": minutes})).send().await.expect(201);
        reply.data()["key"].as_str().unwrap().to_owned()
    };
    let first = mint(&app, &ana, &site).await;

    let second = rotate(30).await;
    app.clock.advance(Duration::from_secs(30 * 60) - Duration::from_micros(1));
    app.get(VERIFY).key(&first).send().await.expect(200);
    app.clock.advance(Duration::from_micros(1));
    let expired = app.get(VERIFY).key(&first).send().await.expect(401);
    let third = rotate(0).await;
    let revoked = app.get(VERIFY).key(&second).send().await.expect(401);

    assert_eq!(codes(&[&expired, &revoked]), ["key_revoked", "key_revoked"]);
    app.get(VERIFY).key(&third).send().await.expect(200);
    let wrong = app.post(&key_path(&site)).bearer(&ana.access).json(json!({"overlap_minutes": 10_081})).send().await.expect(400);
    assert!(wrong.body["errors"]["overlap_minutes"].is_array());
}

#[tokio::test]
async fn a_longer_overlap_never_prolongs_a_key_that_was_to_end() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let first = mint(&app, &ana, &site).await;
    app.post(&key_path(&site)).bearer(&ana.access).json(json!({"overlap_minutes": 5})).send().await.expect(201);

    app.post(&key_path(&site)).bearer(&ana.access).json(json!({"overlap_minutes": 50})).send().await.expect(201);

    app.clock.advance(Duration::from_secs(5 * 60));
    app.get(VERIFY).key(&first).send().await.expect(401);
}

#[tokio::test]
async fn revoking_stops_all_keys_of_the_site_at_once() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let first = mint(&app, &ana, &site).await;
    let second = app.post(&key_path(&site)).bearer(&ana.access).json(json!({"overlap_minutes": 60})).send().await.expect(201);
    let second = second.data()["key"].as_str().unwrap();

    let revoked = app.delete(&key_path(&site)).bearer(&ana.access).send().await.expect(200);

    assert_eq!(revoked.data()["revoked"], 2);
    for key in [first.as_str(), second] {
        assert_eq!(app.get(VERIFY).key(key).send().await.expect(401).body["code"], "key_revoked");
    }
    assert_eq!(app.get(&key_path(&site)).bearer(&ana.access).send().await.expect(200).body["count"], 0);
}

#[tokio::test]
async fn a_deleted_sites_key_stops_at_once_and_stays_stopped_when_the_site_comes_back() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;

    delete(&app, &ana, &site).await;
    let deleted = app.get(VERIFY).key(&key).send().await.expect(401);
    restore(&app, &ana, &site).await.expect(200);
    let restored = app.get(VERIFY).key(&key).send().await.expect(401);

    assert_eq!(codes(&[&deleted, &restored]), ["key_revoked", "key_revoked"]);
}

#[tokio::test]
async fn e_each_reason_to_turn_a_key_away_has_its_own_code() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;
    let verify = async |status: u16| app.get(VERIFY).key(&key).send().await.expect(status);

    let unknown = app.get(VERIFY).key(&igny8::secrets::new_site_key()).send().await.expect(401);
    let mistyped = app.get(VERIFY).key(&key[..key.len() - 1]).send().await.expect(401);
    app.patch(&path(&site)).bearer(&ana.access).json(json!({"is_active": false})).send().await.expect(200);
    let inactive = verify(403).await;
    set_status(&app, &ana, "suspended").await;
    let suspended = verify(403).await;
    set_status(&app, &ana, "cancelled").await;
    let cancelled = verify(403).await;
    set_status(&app, &ana, "trial").await;
    sqlx::query("update plans set is_active = false where slug = 'free-trial'").execute(app.pool()).await.unwrap();
    let plan_inactive = verify(402).await;

    let expected = ["key_unknown", "key_unknown", "site_inactive", "account_suspended", "account_cancelled", "plan_inactive"];
    assert_eq!(codes(&[&unknown, &mistyped, &inactive, &suspended, &cancelled, &plan_inactive]), expected);
    assert_eq!(unknown.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn e_a_deleted_accounts_key_is_unknown() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;
    let delete = sqlx::query("update accounts set deleted_at = $2, restore_until = $2 where account_id = $1");
    delete.bind(ana.account_id).bind(app.now()).execute(app.pool()).await.unwrap();

    let reply = app.get(VERIFY).key(&key).send().await.expect(401);

    assert_eq!(reply.body["code"], "key_unknown");
}

#[tokio::test]
async fn e_a_suspended_customer_sees_his_sites_but_changes_none_and_his_key_has_no_exception() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;

    set_status(&app, &ana, "suspended").await;

    assert_eq!(seen(&app, &ana).await, std::slice::from_ref(&site));
    let change = app.patch(&path(&site)).bearer(&ana.access).json(json!({"name": "New"})).send().await.expect(403);
    let by_key = app.get(SITES).key(&key).send().await.expect(403);
    assert_eq!(codes(&[&change, &by_key]), ["account_suspended", "account_suspended"]);
}

#[tokio::test]
async fn b5_a_trial_that_is_over_stops_its_key_before_any_scheduler_ran() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;

    app.clock.advance(14 * DAY - Duration::from_micros(1));
    app.get(VERIFY).key(&key).send().await.expect(200);
    app.clock.advance(Duration::from_micros(1));
    let over = app.get(VERIFY).key(&key).send().await.expect(403);

    assert_eq!(over.body["code"], "account_suspended");
}

#[tokio::test]
async fn a_key_of_the_old_system_keeps_working() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let old_key = "wp-0123456789abcdef";
    let import =
        sqlx::query("insert into site_keys (account_id, site_id, key_sha256, last_four, created_at) values ($1, $2, $3, 'cdef', $4)");
    let import = import.bind(ana.account_id).bind(site.as_i64()).bind(igny8::secrets::sha256(old_key).as_slice()).bind(app.now());
    import.execute(app.pool()).await.unwrap();

    let reply = app.get(VERIFY).key(old_key).send().await.expect(200);

    assert_eq!(reply.data()["site"]["id"], site);
}

#[tokio::test]
async fn the_last_use_of_a_key_is_noted_at_most_once_a_minute() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, "Site").await;
    let key = mint(&app, &ana, &site).await;
    let noted = async || {
        let noted = sqlx::query_scalar::<_, Option<Timestamp>>("select last_used_at from site_keys");
        noted.fetch_one(app.pool()).await.unwrap()
    };
    // The note is written beside the request, so it may arrive a moment after the answer.
    let becomes = async |expected: Timestamp| {
        for _ in 0..200 {
            if noted().await == Some(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the last use is noted as {:?} and not {expected}", noted().await);
    };
    assert_eq!(noted().await, None);
    let first_use = app.now();

    app.get(VERIFY).key(&key).send().await.expect(200);
    becomes(first_use).await;
    app.clock.advance(Duration::from_secs(59));
    app.get(VERIFY).key(&key).send().await.expect(200);
    app.clock.advance(Duration::from_secs(1));
    app.get(VERIFY).key(&key).send().await.expect(200);

    // The use in between would have moved this one to a minute after itself.
    becomes(first_use + chrono::TimeDelta::minutes(1)).await;
}

#[tokio::test]
async fn the_list_of_sites_is_paged_like_every_list() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    put_on_plan(&app, &ana, "growth").await;
    for name in ["One", "Two", "Three"] {
        create(&app, &ana, name).await;
    }

    let second = app.get("/api/v1/auth/sites/?page=2&page_size=2").bearer(&ana.access).send().await.expect(200);
    let beyond = app.get("/api/v1/auth/sites/?page=7&page_size=2").bearer(&ana.access).send().await.expect(200);

    assert_eq!(
        (&second.body["count"], &second.body["results"][0]["name"], &second.body["next"]),
        (&json!(3), &json!("Three"), &Value::Null)
    );
    assert!(second.body["previous"].as_str().unwrap().ends_with("/api/v1/auth/sites/?page_size=2&page=1"));
    assert_eq!((&beyond.body["count"], &beyond.body["results"]), (&json!(3), &json!([])));
}
