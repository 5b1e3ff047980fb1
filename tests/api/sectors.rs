//! What sites are about: the industries that all choose from, and the sectors that a site covers, as many as its plan allows.

use crate::support::{Reply, Session, TestApp, tenant::Tenant};
use serde_json::{Value, json};
use std::sync::Arc;

const SITES: &str = "/api/v1/auth/sites/";

async fn create(app: &TestApp, session: &Session, body: Value) -> Value {
    app.post(SITES).bearer(&session.access).json(body).send().await.expect(201).data().clone()
}

async fn patch(app: &TestApp, session: &Session, site: &Value, body: Value) -> Reply {
    app.patch(&format!("{SITES}{}/", site["id"])).bearer(&session.access).json(body).send().await
}

async fn add(app: &TestApp, session: &Session, site: &Value, body: Value) -> Reply {
    app.post(&format!("{SITES}{}/sectors/", site["id"])).bearer(&session.access).json(body).send().await
}

async fn listed(app: &TestApp, session: &Session, site: &Value) -> Vec<Value> {
    let reply = app.get(&format!("{SITES}{}/sectors/", site["id"])).bearer(&session.access).send().await.expect(200);
    let sectors = reply.body["results"].as_array().expect("a list").clone();
    assert_eq!(reply.body["count"], json!(sectors.len()));
    sectors
}

fn names(sectors: &[Value]) -> Vec<&str> {
    sectors.iter().map(|sector| sector["name"].as_str().expect("a name")).collect()
}

fn failing(reply: &Reply) -> Vec<&str> {
    reply.body["errors"].as_object().expect("errors").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn anybody_sees_the_industries_each_with_all_its_sectors() {
    let app = TestApp::start().await;

    let reply = app.get("/api/v1/auth/industries/").send().await.expect(200);

    let industries = reply.body["results"].as_array().expect("a list");
    assert_eq!((&reply.body["count"], industries.len(), &reply.body["next"]), (&json!(12), 12, &Value::Null));
    let words = |list: &[Value]| list.iter().map(|entry| entry["slug"].as_str().expect("a slug").to_owned()).collect::<Vec<_>>();
    assert_eq!(words(industries)[..2], ["healthcare-medical", "home-garden"]);
    assert_eq!((&industries[0]["name"], &industries[1]["name"]), (&json!("Healthcare & Medical"), &json!("Home & Garden")));
    for industry in industries {
        let sectors = industry["sectors"].as_array().expect("sectors");
        assert!((4..=8).contains(&sectors.len()) && words(sectors).iter().all(|word| !word.is_empty()), "{industry}");
    }
}

#[tokio::test]
async fn a_site_is_about_an_industry_named_by_slug_or_number() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;

    let site = create(&app, &ana, json!({"name": "Shop", "industry": "home-garden"})).await;
    let by_number = patch(&app, &ana, &site, json!({"industry": 1})).await.expect(200);
    let by_form = app.patch(&format!("{SITES}{}/", site["id"])).bearer(&ana.access).form("industry=2").send().await.expect(200);
    let cleared = patch(&app, &ana, &site, json!({"industry": null})).await.expect(200);
    let kept = patch(&app, &ana, &site, json!({"name": "Shop 2"})).await.expect(200);
    let unknown = patch(&app, &ana, &site, json!({"industry": "alchemy"})).await.expect_code(400, "invalid_input");
    let wrong = patch(&app, &ana, &site, json!({"industry": "No Slug"})).await.expect_code(400, "invalid_input");

    assert_eq!(site["industry"], json!({"id": 2, "slug": "home-garden", "name": "Home & Garden"}));
    assert_eq!(by_number.data()["industry"]["slug"], "healthcare-medical");
    assert_eq!(by_form.data()["industry"]["slug"], "home-garden");
    assert_eq!((&cleared.data()["industry"], &kept.data()["industry"]), (&Value::Null, &Value::Null));
    assert_eq!((failing(&unknown), failing(&wrong)), (vec!["industry"], vec!["industry"]));
}

#[tokio::test]
async fn a_site_covers_sectors_of_its_industry_and_names_of_its_own() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, json!({"name": "Shop", "industry": "home-garden"})).await;

    let furniture = add(&app, &ana, &site, json!({"sector": "furniture"})).await.expect(201);
    let tea = add(&app, &ana, &site, json!({"name": "Tea houses"})).await.expect(201);
    let foreign = add(&app, &ana, &site, json!({"sector": "dental-care"})).await.expect_code(400, "invalid_input");
    let again = add(&app, &ana, &site, json!({"name": "FURNITURE"})).await.expect_code(400, "invalid_input");
    for neither in [json!({}), json!({"sector": "furniture", "name": "Tea"})] {
        add(&app, &ana, &site, neither).await.expect_code(400, "invalid_input");
    }

    assert_eq!(furniture.data()["industry_sector"]["slug"], "furniture");
    assert_eq!((&tea.data()["name"], &tea.data()["industry_sector"]), (&json!("Tea houses"), &Value::Null));
    assert_eq!((failing(&foreign), failing(&again)), (vec!["sector"], vec!["non_field_errors"]));
    assert_eq!(listed(&app, &ana, &site).await, [furniture.data().clone(), tea.data().clone()]);
    let shown = app.get(&format!("{SITES}{}/", site["id"])).bearer(&ana.access).send().await.expect(200);
    assert_eq!(shown.data()["sectors_count"], 2);
    let audited = "select count(*) from audit_log where action = 'site.sector_added'";
    assert_eq!(app.count(audited).await, 2);
}

#[tokio::test]
async fn another_industry_leaves_the_sectors_as_names_of_the_sites_own() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, json!({"name": "Shop", "industry": "home-garden"})).await;
    add(&app, &ana, &site, json!({"sector": "furniture"})).await.expect(201);

    patch(&app, &ana, &site, json!({"industry": "home-garden"})).await.expect(200);
    let same = listed(&app, &ana, &site).await;
    patch(&app, &ana, &site, json!({"industry": "fashion-beauty"})).await.expect(200);
    let other = listed(&app, &ana, &site).await;

    assert_eq!(same[0]["industry_sector"]["slug"], "furniture");
    assert_eq!((names(&other), &other[0]["industry_sector"]), (vec!["Furniture"], &Value::Null));
}

#[tokio::test]
async fn fifty_sectors_at_once_fill_the_plan_exactly() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, json!({"name": "Shop"})).await;

    let mut additions = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (app, ana, site) = (Arc::clone(&app), ana.clone(), site.clone());
        additions.spawn(async move { add(&app, &ana, &site, json!({"name": format!("Sector {number}")})).await });
    }
    let mut replies = additions.join_all().await;
    replies.sort_by_key(|reply| reply.status);

    let (added, refused) = replies.split_at(3);
    assert!(added.iter().all(|reply| reply.status == 201), "the trial allows three");
    for reply in refused {
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (422, &json!("sector_limit_reached")));
        assert_eq!((&reply.body["limit"], &reply.body["used"]), (&json!(3), &json!(3)));
    }
    assert_eq!(listed(&app, &ana, &site).await.len(), 3);
    app.verify().await;
}

#[tokio::test]
async fn a_sector_that_is_deleted_makes_room_and_is_gone() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let site = create(&app, &ana, json!({"name": "Shop"})).await;
    let sector = add(&app, &ana, &site, json!({"name": "Tea"})).await.expect(201).data()["id"].clone();
    let delete = || app.delete(&format!("{SITES}{}/sectors/{sector}/", site["id"])).bearer(&ana.access).send();

    let deleted = delete().await.expect(200);
    delete().await.expect_code(404, "not_found");

    assert_eq!(deleted.data(), &json!({"id": sector}));
    assert!(listed(&app, &ana, &site).await.is_empty());
    add(&app, &ana, &site, json!({"name": "tea"})).await.expect(201);
    assert_eq!(app.count("select count(*) from audit_log where action = 'site.sector_deleted'").await, 1);
}

#[tokio::test]
async fn an_editor_sees_and_changes_the_sectors_of_sites_given_to_him_and_a_viewer_of_none() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let hidden = create(&app, &ana, json!({"name": "Hidden"})).await;
    let sector = add(&app, &ana, &hidden, json!({"name": "Tea"})).await.expect(201).data()["id"].clone();
    let ben = Tenant::new(&app, "ben@example.com").await;
    let role = async |role: &str| app.run(format!("update users set role = '{role}' where account_id = {}", ana.account_id)).await;
    let own = format!("{SITES}{}/sectors/", hidden["id"]);

    role("editor").await;
    app.get(&own).bearer(&ana.access).send().await.expect_code(404, "not_found");
    add(&app, &ana, &hidden, json!({"name": "Coffee"})).await.expect_code(404, "not_found");
    app.delete(&format!("{own}{sector}/")).bearer(&ana.access).send().await.expect_code(404, "not_found");
    role("viewer").await;
    app.get(&own).bearer(&ana.access).send().await.expect_code(403, "role_required");
    role("owner").await;

    // Another tenant's sector under one's own site, and one's own under another tenant's.
    app.delete(&format!("{own}{}/", ben.sector)).bearer(&ana.access).send().await.expect_code(404, "not_found");
    app.delete(&format!("{SITES}{}/sectors/{sector}/", ben.sites[0])).bearer(&ana.access).send().await.expect_code(404, "not_found");
    app.get(&format!("{SITES}{}/sectors/", ben.sites[0])).key(&ben.key).send().await.expect_code(403, "site_key_not_allowed");
    assert_eq!(names(&listed(&app, &ana, &hidden).await), ["Tea"]);
}
