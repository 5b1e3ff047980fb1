//! What plugins live by: keys with scopes, two alive while rotating; events kept once; clones that may only read.

use crate::support::{Reply, Session, TestApp, tenant::Tenant};
use igny8::sites::events::service::purge;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const VERIFY: &str = "/api/v1/integration/verify-key/";
const EVENTS: &str = "/api/v1/integration/events/";
const BALANCE: &str = "/api/v1/billing/credits/balance/";
const CHECK: &str = "/api/v1/billing/credits/check/";
const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const HOME: &str = "X-IGNY8-Home-URL";
const DAY: Duration = Duration::from_secs(86_400);

/// An owner with one site and its key.
struct Bridge {
    ana: Session,
    site: Value,
    key: String,
}

impl Bridge {
    async fn new(app: &TestApp) -> Self {
        let ana = app.register("ana@example.com").await;
        let body = json!({"name": "Garden", "url": "https://garden.example.com"});
        let site = app.post("/api/v1/auth/sites/").bearer(&ana.access).json(body).send().await.expect(201).data()["id"].clone();
        let key = mint(app, &ana, &site, json!({})).await;
        Bridge { ana, site, key }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/auth/sites/{}/{rest}", self.site)
    }
}

async fn mint(app: &TestApp, ana: &Session, site: &Value, order: Value) -> String {
    let reply = app.post(&format!("/api/v1/auth/sites/{site}/api-key/")).bearer(&ana.access).json(order).send().await.expect(201);
    reply.data()["key"].as_str().expect("a key").to_owned()
}

fn job() -> Value {
    json!({"operation": "clustering", "quantity": 1})
}

fn published(id: impl Into<Value>) -> Value {
    json!({"event_type": "post.published", "external_id": id.into(), "payload": {"title": "Roses"}})
}

async fn report(app: &TestApp, key: &str, body: Value) -> Reply {
    app.post(EVENTS).key(key).json(body).send().await
}

fn ids(reply: &Reply) -> Vec<&str> {
    let events = reply.body["results"].as_array().expect("a list");
    events.iter().map(|event| event["external_id"].as_str().expect("a text")).collect()
}

// --- Keys --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_malformed_key_is_refused_without_a_query_and_a_well_formed_one_is_not() {
    let (app, relay) = TestApp::relayed().await;
    let bridge = Bridge::new(&app).await;
    relay.take();

    let mut mistyped = bridge.key.clone();
    mistyped.replace_range(10..11, if &mistyped[10..11] == "x" { "y" } else { "x" });
    for text in [mistyped.as_str(), "igny8_", "igny8_0123456789abcdef", "short", &"k".repeat(129)] {
        app.get(VERIFY).key(text).send().await.expect_code(401, "key_unknown");
    }
    let for_malformed = relay.take();
    app.get(VERIFY).key(&bridge.key).send().await.expect(200);

    assert!(for_malformed.is_empty(), "{for_malformed:#?}");
    assert!(!relay.take().is_empty());
}

#[tokio::test]
async fn two_keys_live_while_rotating_and_a_third_rotation_ends_the_oldest() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    let overlap = json!({"overlap_minutes": 60});
    let works = async |key: &str| app.get(VERIFY).key(key).send().await.status.as_u16();

    let second = mint(&app, &bridge.ana, &bridge.site, overlap.clone()).await;
    let after_one = [works(&bridge.key).await, works(&second).await];
    let third = mint(&app, &bridge.ana, &bridge.site, overlap).await;
    let after_two = [works(&bridge.key).await, works(&second).await, works(&third).await];
    app.advance(Duration::from_secs(3_600));
    let after_an_hour = [works(&second).await, works(&third).await];

    assert_eq!((after_one, after_two, after_an_hour), ([200, 200], [401, 200, 200], [401, 200]));
    app.get(VERIFY).key(&bridge.key).send().await.expect_code(401, "key_revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_rotations_at_once_leave_two_keys() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    let bridge = Bridge::new(&app).await;

    let mut rotations = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (app, ana, site) = (Arc::clone(&app), bridge.ana.clone(), bridge.site.clone());
        rotations.spawn(async move { mint(&app, &ana, &site, json!({"overlap_minutes": 60})).await });
    }
    let keys = rotations.join_all().await;

    let mut alive = 0;
    for key in keys.iter().chain([&bridge.key]) {
        alive += usize::from(app.get(VERIFY).key(key).send().await.status == 200);
    }
    assert_eq!(alive, 2);
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_name_and_one_without_scopes_everything() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    let week = json!({"overlap_minutes": 10_080});
    let with = async |scopes: Value| {
        let mut order = week.clone();
        order["scopes"] = scopes;
        mint(&app, &bridge.ana, &bridge.site, order).await
    };
    let opened = async |key: &str| {
        [
            app.get(VERIFY).key(key).send().await,
            app.get(BALANCE).key(key).send().await,
            app.get("/api/v1/auth/sites/").key(key).send().await,
            app.get(EVENTS).key(key).send().await,
            app.post(CHECK).key(key).json(job()).send().await,
            app.post(DEDUCT).key(key).json(job()).send().await,
            report(&app, key, published(1)).await,
        ]
        .map(|reply| {
            if reply.status == 403 {
                reply.expect_code(403, "key_scope_missing").body["scope"].clone()
            } else {
                json!(reply.status.as_u16())
            }
        })
    };

    let all = opened(&bridge.key).await;
    let read = opened(&with(json!(["read"])).await).await;
    let credits = opened(&with(json!(["credits", "credits"])).await).await;
    let events = opened(&with(json!(["events"])).await).await;

    assert_eq!(all, [json!(200), json!(200), json!(200), json!(200), json!(200), json!(201), json!(201)]);
    assert_eq!(read, [json!(200), json!(200), json!(200), json!(200), json!("credits"), json!("credits"), json!("events")]);
    assert_eq!(credits, [json!(200), json!("read"), json!("read"), json!("read"), json!(200), json!(201), json!("events")]);
    assert_eq!(events, [json!(200), json!("read"), json!("read"), json!("read"), json!("credits"), json!("credits"), json!(200)]);
    let listed = app.get(&bridge.path("api-key/")).bearer(&bridge.ana.access).send().await.expect(200);
    assert_eq!(listed.body["results"][0]["scopes"], json!(["events"]));
    let order =
        async |scopes: Value| app.post(&bridge.path("api-key/")).bearer(&bridge.ana.access).json(json!({"scopes": scopes})).send().await;
    for wrong in [json!([]), json!(["admin"]), json!("read")] {
        order(wrong).await.expect_code(400, "invalid_input");
    }
    app.verify().await;
}

// --- Events ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_event_is_kept_once_and_a_contradiction_is_refused() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;

    let first = report(&app, &bridge.key, published(4711)).await.expect(201);
    let again = report(&app, &bridge.key, published("4711")).await.expect(200);
    let mut other = published(4711);
    other["payload"]["title"] = json!("Tulips");
    let conflict = report(&app, &bridge.key, other).await.expect_code(409, "event_conflict");
    let form = app.post(EVENTS).key(&bridge.key).form("event_type=post.published&external_id=4711&payload[title]=Roses").send().await;

    let expected = json!({
        "id": first.data()["id"], "site": bridge.site, "event_type": "post.published", "external_id": "4711",
        "payload": {"title": "Roses"}, "created_at": "2026-03-01T00:00:00Z",
    });
    assert_eq!((first.data(), again.data(), form.expect(200).data()), (&expected, &expected, &expected));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (String::new(), "true".to_owned()));
    assert_eq!((&conflict.body["event_type"], &conflict.body["external_id"]), (&json!("post.published"), &json!("4711")));
    assert_eq!(app.count("select count(*) from site_events").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_sent_fifty_times_at_once_is_created_once() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    let bridge = Bridge::new(&app).await;

    let mut reports = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (app, key) = (Arc::clone(&app), bridge.key.clone());
        // Batches with the same events in another order, too.
        let pair = if n % 4 == 0 { [published(1), published(2)] } else { [published(2), published(1)] };
        let body = if n % 2 == 0 { json!({"events": pair}) } else { published(1) };
        reports.spawn(async move { report(&app, &key, body).await });
    }
    let replies = reports.join_all().await;

    let created = replies.iter().filter(|reply| reply.status == 201).count();
    assert!(replies.iter().all(|reply| [200, 201].contains(&reply.status.as_u16())) && (1..=2).contains(&created), "{created}");
    assert_eq!(app.count("select count(*) from site_events").await, 2);
}

#[tokio::test]
async fn a_batch_is_kept_whole_or_not_at_all_and_its_size_is_limited() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    let batch = |ids: std::ops::Range<i64>| json!({"events": ids.map(published).collect::<Vec<_>>()});

    let first = report(&app, &bridge.key, batch(0..100)).await.expect(201);
    let more = report(&app, &bridge.key, batch(99..102)).await.expect(201);
    let known = report(&app, &bridge.key, batch(0..3)).await.expect(200);
    let mut contradiction = batch(102..105);
    contradiction["events"][2] = json!({"event_type": "post.published", "external_id": 0});
    report(&app, &bridge.key, contradiction).await.expect_code(409, "event_conflict");
    let mut both = published(1);
    both["events"] = json!([]);
    let large = json!({"event_type": "x", "external_id": 1, "payload": {"a": "x".repeat(17_000)}});
    for wrong in [batch(0..101), batch(0..0), both, json!({}), large, json!({"events": [{"event_type": "x"}]})] {
        report(&app, &bridge.key, wrong).await.expect_code(400, "invalid_input");
    }

    assert_eq!((&first.data()["created"], &more.data()["created"], &known.data()["created"]), (&json!(100), &json!(2), &json!(0)));
    let order = first.data()["events"].as_array().unwrap().iter().map(|event| event["external_id"].clone()).collect::<Vec<_>>();
    assert_eq!(order, (0..100).map(|id: i64| json!(id.to_string())).collect::<Vec<_>>());
    assert_eq!(app.count("select count(*) from site_events").await, 102);
}

#[tokio::test]
async fn events_are_listed_newest_first_by_cursor_and_filtered() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    for id in 1..=5 {
        report(&app, &bridge.key, published(id)).await.expect(201);
        app.advance(Duration::from_secs(60));
    }
    report(&app, &bridge.key, json!({"event_type": "post.deleted", "external_id": 1})).await.expect(201);
    let list = async |query: &str| app.get(&format!("{EVENTS}?{query}")).key(&bridge.key).send().await.expect(200);

    let first = list("event_type=post.published&page_size=2").await;
    let next =
        app.get(first.body["next"].as_str().unwrap().trim_start_matches("http://igny8.test")).key(&bridge.key).send().await.expect(200);
    let back =
        app.get(next.body["previous"].as_str().unwrap().trim_start_matches("http://igny8.test")).key(&bridge.key).send().await.expect(200);
    let minute = list("from=2026-03-01T00:01:00Z&to=2026-03-01T00:03:00Z&count=true").await;
    let all = list("count=true").await;

    assert_eq!((ids(&first), ids(&next), ids(&back)), (vec!["5", "4"], vec!["3", "2"], vec!["5", "4"]));
    assert_eq!((ids(&minute), &minute.body["count"]), (vec!["3", "2"], &json!(2)));
    assert_eq!((all.body["results"][0]["event_type"].as_str(), &all.body["count"]), (Some("post.deleted"), &json!(6)));
    for wrong in ["from=yesterday", "site=x", "cursor=x", "page_size=0"] {
        app.get(&format!("{EVENTS}?{wrong}")).key(&bridge.key).send().await.expect_code(400, "invalid_input");
    }
}

#[tokio::test]
async fn events_are_seen_by_those_who_see_the_site() {
    let app = TestApp::start().await;
    let (ana, ben) = (Tenant::new(&app, "ana@example.com").await, Tenant::new(&app, "ben@example.com").await);
    report(&app, &ana.key, published(1)).await.expect(201);
    report(&app, &ben.key, published(2)).await.expect(201);
    let site = ana.sites[0];
    let role = async |role: &str| app.run(format!("update users set role = '{role}' where user_id = {}", ana.session.user_id)).await;
    let see = async |query: &str| app.get(&format!("{EVENTS}{query}")).bearer(&ana.session.access).send().await;

    let as_owner = see("").await.expect(200);
    let named = see(&format!("?site={site}")).await.expect(200);
    see(&format!("?site={}", ben.sites[0])).await.expect_code(404, "not_found");
    see(&format!("?site={}", ana.sites[1])).await.expect_code(404, "not_found");
    role("viewer").await;
    let granted = see("").await.expect(200);
    app.run(format!("delete from site_access where site_id = {site}")).await;
    let not_granted = see("?count=true").await.expect(200);
    see(&format!("?site={site}")).await.expect_code(404, "not_found");
    role("owner").await;
    app.get(&format!("{EVENTS}?site={}", ben.sites[0])).key(&ana.key).send().await.expect_code(404, "not_found");
    app.delete(&format!("/api/v1/auth/sites/{site}/")).bearer(&ana.session.access).send().await.expect(200);
    let deleted = see("").await.expect(200);

    assert_eq!((ids(&as_owner), ids(&named), ids(&granted)), (vec!["1"], vec!["1"], vec!["1"]));
    assert_eq!((ids(&not_granted), &not_granted.body["count"], ids(&deleted)), (vec![], &json!(0), vec![]));
    app.post(EVENTS).bearer(&ana.session.access).json(published(3)).send().await.expect_code(403, "site_key_required");
}

#[tokio::test]
async fn events_are_kept_for_ninety_days() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    for id in 1..=3 {
        report(&app, &bridge.key, published(id)).await.expect(201);
    }

    app.advance(DAY * 90);
    let early = purge(app.pool(), 10, app.now()).await.unwrap();
    app.advance(Duration::from_micros(1));
    let first = purge(app.pool(), 2, app.now()).await.unwrap();
    let rest = purge(app.pool(), 2, app.now()).await.unwrap();

    assert_eq!((early, first, rest), (0, 2, 1));
}

// --- Clones ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_clone_may_read_and_not_write_while_the_original_goes_on() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    let clone = "https://staging.example.com/";
    let from = |home: &str, method: axum::http::Method, path: &str| app.request(method, path).key(&bridge.key).header(HOME, home);
    let post = axum::http::Method::POST;
    let get = axum::http::Method::GET;

    let verified = from(clone, get.clone(), VERIFY).send().await.expect(200);
    from(clone, get.clone(), BALANCE).send().await.expect(200);
    for (path, body) in [(DEDUCT, job()), (CHECK, job()), (EVENTS, published(1))] {
        let refused = from(clone, post.clone(), path).json(body).send().await.expect_code(409, "site_url_changed");
        assert_eq!((&refused.body["registered_url"], &refused.body["home_url"]), (&json!("https://garden.example.com"), &json!(clone)));
    }
    // At home, however it is spelled, and silent as the present plugin is.
    for home in ["http://www.GARDEN.example.com/", "https://garden.example.com"] {
        let verified = from(home, get.clone(), VERIFY).send().await.expect(200);
        assert_eq!(verified.data()["url_conflict"], Value::Null);
        from(home, post.clone(), DEDUCT).json(job()).send().await.expect(201);
    }
    let silent = app.get(VERIFY).key(&bridge.key).send().await.expect(200);
    app.post(DEDUCT).key(&bridge.key).json(job()).send().await.expect(201);

    assert_eq!(silent.data()["url_conflict"], Value::Null);
    assert_eq!(verified.data()["url_conflict"], json!({"registered_url": "https://garden.example.com", "home_url": clone}));
    let by_query = app.get(&format!("{VERIFY}?home_url=https%3A%2F%2Fstaging.example.com")).key(&bridge.key).send().await.expect(200);
    assert_eq!(by_query.data()["url_conflict"]["home_url"], "https://staging.example.com");
    let shown = app.get(&bridge.path("")).bearer(&bridge.ana.access).send().await.expect(200);
    assert_eq!(shown.data()["url_conflict"], json!({"url": clone, "seen_at": "2026-03-01T00:00:00Z"}));
    assert_eq!(app.count("select count(*) from site_clones").await, 1);
    from("garden", get, VERIFY).send().await.expect_code(400, "invalid_input");
    let stranger = app.get(VERIFY).key(&igny8::secrets::new_site_key()).header(HOME, "garden");
    stranger.send().await.expect_code(401, "key_unknown");
    app.verify().await;
}

#[tokio::test]
async fn a_site_that_moved_writes_from_its_new_home_and_no_more_from_the_old() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    let spend = async |home: &str| app.post(DEDUCT).key(&bridge.key).header(HOME, home).json(job()).send().await;
    spend("https://new.example.com").await.expect_code(409, "site_url_changed");

    let decide = |action: &str| app.post(&bridge.path("url-conflict/")).bearer(&bridge.ana.access).json(json!({"action": action})).send();
    let moved = decide("move").await.expect(200);
    let again = decide("move").await.expect_code(409, "no_url_conflict");
    spend("https://new.example.com").await.expect(201);
    spend("https://garden.example.com").await.expect_code(409, "site_url_changed");

    assert_eq!((&moved.data()["url"], &moved.data()["url_conflict"]), (&json!("https://new.example.com"), &Value::Null));
    assert_eq!(again.body["success"], false);
    assert_eq!(app.count("select count(*) from audit_log where action = 'site.moved'").await, 1);
}

#[tokio::test]
async fn an_ignored_clone_stays_read_only_without_further_notice() {
    let app = TestApp::start().await;
    let bridge = Bridge::new(&app).await;
    let visit = async |home: &str| app.get(VERIFY).key(&bridge.key).header(HOME, home).send().await.expect(200);
    let shown =
        async || app.get(&bridge.path("")).bearer(&bridge.ana.access).send().await.expect(200).data()["url_conflict"]["url"].clone();
    let decide = async |body: Value| app.post(&bridge.path("url-conflict/")).bearer(&bridge.ana.access).json(body).send().await;
    visit("https://one.example.com").await;
    app.advance(Duration::from_secs(1));
    visit("https://two.example.com").await;

    let first = shown().await;
    decide(json!({"action": "ignore"})).await.expect(200);
    let second = shown().await;
    decide(json!({"action": "ignore", "url": "http://two.example.com/"})).await.expect(200);
    decide(json!({"action": "ignore", "url": "http://two.example.com/"})).await.expect(200);
    let none = shown().await;
    visit("https://one.example.com").await;
    let still_none = shown().await;

    assert_eq!((first, second), (json!("https://one.example.com"), json!("https://two.example.com")));
    assert_eq!((none, still_none), (Value::Null, Value::Null));
    let spend = app.post(DEDUCT).key(&bridge.key).header(HOME, "https://one.example.com").json(job());
    spend.send().await.expect_code(409, "site_url_changed");
    assert_eq!(app.count("select count(*) from audit_log where action = 'site.clone_ignored'").await, 2);
    decide(json!({"action": "ignore", "url": "https://three.example.com"})).await.expect_code(409, "no_url_conflict");
    decide(json!({"action": "keep"})).await.expect_code(400, "invalid_input");
    app.run(format!("update users set role = 'editor' where user_id = {}", bridge.ana.user_id)).await;
    decide(json!({"action": "ignore"})).await.expect_code(403, "role_required");
}

#[tokio::test]
async fn addresses_that_a_site_takes_by_hand_are_conflicts_no_more_and_their_number_is_limited() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let bridge = Bridge::new(&app).await;
    for n in 0..25 {
        app.get(VERIFY).key(&bridge.key).header(HOME, &format!("https://c{n}.example.com")).send().await.expect(200);
    }
    let noted = app.count("select count(*) from site_clones").await;
    let patch =
        async |url: Value| app.patch(&bridge.path("")).bearer(&bridge.ana.access).json(json!({"url": url})).send().await.expect(200);

    patch(json!("http://c0.example.com/")).await;
    let after_one = app.count("select count(*) from site_clones").await;
    let cleared = patch(Value::Null).await;

    assert_eq!((noted, after_one, app.count("select count(*) from site_clones").await), (20, 19, 0));
    assert_eq!(cleared.data()["url_conflict"], Value::Null);
    app.post(DEDUCT).key(&bridge.key).header(HOME, "https://anywhere.example.com").json(job()).send().await.expect(201);
}

// --- The end -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn h_a_purge_of_site_or_account_takes_all_that_hangs_on_it_and_leaves_the_money() {
    let app = TestApp::start().await;
    let (ana, ben) = (Tenant::new(&app, "ana@example.com").await, Tenant::new(&app, "ben@example.com").await);
    for tenant in [&ana, &ben] {
        report(&app, &tenant.key, published(1)).await.expect(201);
        app.post(DEDUCT).key(&tenant.key).json(job()).send().await.expect(201);
        app.run(format!("update sites set url = 'https://a.example.com' where site_id = {}", tenant.sites[0])).await;
        app.get(VERIFY).key(&tenant.key).header(HOME, "https://b.example.com").send().await.expect(200);
    }
    let left = async |tenant: &Tenant| {
        let tables = ["sites", "site_keys", "site_sectors", "site_events", "site_clones", "site_access"];
        let counts = tables.map(|table| format!("(select count(*) from {table} where account_id = {})", tenant.session.account_id));
        app.text(format!("select concat_ws(' ', {})", counts.join(", "))).await
    };

    app.delete("/api/v1/account/").bearer(&ana.session.access).send().await.expect(200);
    app.get(VERIFY).key(&ana.key).send().await.expect_code(401, "key_unknown");
    app.delete(&format!("/api/v1/auth/sites/{}/", ben.sites[0])).bearer(&ben.session.access).send().await.expect(200);
    app.get(VERIFY).key(&ben.key).send().await.expect_code(401, "key_revoked");
    let before = left(&ana).await;
    app.advance(DAY * 14);
    igny8::accounts::life::purge_deleted(app.pool(), igny8::sites::service::go_with_account, app.now()).await.unwrap();
    igny8::sites::service::purge_deleted(app.pool(), 100, app.now()).await.unwrap();

    assert_eq!((before.as_str(), left(&ana).await.as_str(), left(&ben).await.as_str()), ("2 1 1 1 1 1", "0 0 0 0 0 0", "0 0 0 0 0 0"));
    for tenant in [&ana, &ben] {
        app.get(VERIFY).key(&tenant.key).send().await.expect_code(401, "key_unknown");
    }
    assert_eq!(app.count("select count(*) from credit_transactions where kind = 'deduction'").await, 2);
    app.verify().await;
}
