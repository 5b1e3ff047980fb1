//! What can be bought: read by anybody, edited by developers only, seeded again without harm.

use crate::support::TestApp;
use serde_json::{Value, json};

const LIST: &str = "/api/v1/auth/plans/";
const ADMINISTRATION: &str = "/api/v1/billing/admin/plans/";

fn slugs(list: &Value) -> Vec<&str> {
    list["results"].as_array().expect("a list").iter().map(|plan| plan["slug"].as_str().expect("a word")).collect()
}

async fn audit_rows(app: &TestApp, target: &str) -> Vec<(String, Value, Value, Option<String>)> {
    let rows = sqlx::query_as("select actor, before, after, reason from audit_log where target = $1 order by audit_id");
    rows.bind(target).fetch_all(app.pool()).await.expect("the audit log")
}

#[tokio::test]
async fn anybody_reads_the_six_plans_of_the_requirements_unthrottled() {
    let app = TestApp::start().await;

    let reply = app.get(LIST).send().await.expect(200);

    assert_eq!(slugs(&reply.body), ["free-trial", "free", "starter", "growth", "scale", "enterprise"]);
    assert_eq!((&reply.body["count"], &reply.body["next"], &reply.body["previous"]), (&json!(6), &Value::Null, &Value::Null));
    assert!(reply.headers.keys().all(|name| !name.as_str().contains("throttle") && !name.as_str().contains("ratelimit")));
    let starter = json!({
        "id": reply.body["results"][2]["id"], "slug": "starter", "name": "Starter", "price": "89.00", "billing_cycle": "monthly",
        "credits_per_month": 1000, "max_sites": 1, "max_users": 2, "max_sectors": 5, "features": ["ai_writer", "image_gen"],
        "is_active": true,
    });
    assert_eq!(reply.body["results"][2], starter);
}

#[tokio::test]
async fn the_list_of_plans_is_paged_like_every_list() {
    let app = TestApp::start().await;

    let second = app.get("/api/v1/auth/plans/?page=2&page_size=4").send().await.expect(200);
    let full = app.get("/api/v1/auth/plans/?page_size=6").send().await.expect(200);
    let beyond = app.get("/api/v1/auth/plans/?page=9").send().await.expect(200);
    let wrong = app.get("/api/v1/auth/plans/?page=0&page_size=101").send().await.expect(400);

    assert_eq!((slugs(&second.body), &second.body["count"]), (vec!["scale", "enterprise"], &json!(6)));
    assert!(second.body["previous"].as_str().unwrap().ends_with("/api/v1/auth/plans/?page_size=4&page=1"));
    assert_eq!((&full.body["count"], &full.body["next"]), (&json!(6), &Value::Null));
    assert_eq!((slugs(&beyond.body), &beyond.body["count"]), (vec![], &json!(6)));
    assert_eq!(wrong.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["page", "page_size"]);
}

#[tokio::test]
async fn a_plan_is_found_by_its_word_while_it_is_active() {
    let app = TestApp::start().await;
    sqlx::query("update plans set is_active = false where slug = 'scale'").execute(app.pool()).await.unwrap();

    let starter = app.get("/api/v1/auth/plans/starter").send().await.expect(200);
    let inactive = app.get("/api/v1/auth/plans/scale/").send().await.expect(404);
    let unknown = app.get("/api/v1/auth/plans/gold/").send().await.expect(404);
    let list = app.get(LIST).send().await.expect(200);

    assert_eq!(starter.data()["price"], "89.00");
    assert_eq!((&inactive.body["code"], &unknown.body["code"]), (&json!("not_found"), &json!("not_found")));
    assert!(!slugs(&list.body).contains(&"scale") && list.body["count"] == 5);
    for word in ["%00", "Starter", "a%20b", "%F0%9F%92%A9", "%27%3B--"] {
        app.get(&format!("/api/v1/auth/plans/{word}/")).send().await.expect(404);
    }
}

#[tokio::test]
async fn only_a_developer_sees_and_edits_all_of_a_plan() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let developer = app.operator().await;

    let of_owner = app.get(ADMINISTRATION).bearer(&ana.access).send().await.expect(403);
    let edit_of_owner =
        app.patch("/api/v1/billing/admin/plans/starter/").bearer(&ana.access).json(json!({"reason": "free money", "max_sites": 9}));
    let edit_of_owner = edit_of_owner.send().await.expect(403);
    app.get(ADMINISTRATION).send().await.expect(401);
    let of_developer = app.get(ADMINISTRATION).bearer(&developer.access).send().await.expect(200);

    assert_eq!((&of_owner.body["code"], &edit_of_owner.body["code"]), (&json!("developer_required"), &json!("developer_required")));
    let enterprise = &of_developer.body["results"][5];
    assert_eq!(
        (&enterprise["assignment"], &enterprise["throttle_factor"], &enterprise["own_credits_per_month"]),
        (&json!("manual"), &json!(20), &json!(10_000))
    );
    assert!(audit_rows(&app, "plan:starter").await.is_empty());
}

#[tokio::test]
async fn an_edit_changes_the_plan_and_records_what_changed_and_why() {
    let app = TestApp::start().await;
    let developer = app.operator().await;

    let edit = json!({"reason": "new prices for the spring", "price": 99.5, "max_sites": 2, "name": "Starter"});
    let reply = app.patch("/api/v1/billing/admin/plans/starter/").bearer(&developer.access).json(edit).send().await.expect(200);

    assert_eq!((&reply.data()["price"], &reply.data()["max_sites"]), (&json!("99.50"), &json!(2)));
    let shown = app.get("/api/v1/auth/plans/starter/").send().await.expect(200);
    assert_eq!(shown.data()["price"], "99.50");
    let rows = audit_rows(&app, "plan:starter").await;
    assert_eq!(rows.len(), 1);
    let (actor, before, after, reason) = &rows[0];
    assert!(actor.starts_with("user:"), "{actor}");
    assert_eq!((before, after), (&json!({"price": "89.00", "max_sites": 1}), &json!({"price": "99.50", "max_sites": 2})));
    assert_eq!(reason.as_deref(), Some("new prices for the spring"));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_leaves_no_trace() {
    let app = TestApp::start().await;
    let developer = app.operator().await;

    let edit = json!({"reason": "to be sure", "price": "89.00"});
    app.patch("/api/v1/billing/admin/plans/starter/").bearer(&developer.access).json(edit).send().await.expect(200);

    assert!(audit_rows(&app, "plan:starter").await.is_empty());
}

#[tokio::test]
async fn credits_set_to_null_fall_back_to_the_included_figure_and_missing_ones_stay() {
    let app = TestApp::start().await;
    let developer = app.operator().await;
    sqlx::query("update plans set included_credits = 750 where slug = 'starter'").execute(app.pool()).await.unwrap();
    let edit =
        async |body: Value| app.patch("/api/v1/billing/admin/plans/starter/").bearer(&developer.access).json(body).send().await.expect(200);

    let kept = edit(json!({"reason": "a name", "name": "Starter Plan"})).await;
    let cleared = edit(json!({"reason": "the older figure", "credits_per_month": null})).await;

    assert_eq!((&kept.data()["credits_per_month"], &kept.data()["own_credits_per_month"]), (&json!(1000), &json!(1000)));
    assert_eq!((&cleared.data()["credits_per_month"], &cleared.data()["own_credits_per_month"]), (&json!(750), &Value::Null));
}

#[tokio::test]
async fn an_edit_needs_a_reason_and_every_wrong_field_is_named_at_once() {
    let app = TestApp::start().await;
    let developer = app.operator().await;

    let edit = json!({"price": "89.001", "credits_per_month": -1, "max_users": 0, "features": ["AI!"], "max_site": 3, "is_active": "yes"});
    let reply = app.patch("/api/v1/billing/admin/plans/starter/").bearer(&developer.access).json(edit).send().await.expect(400);

    let fields = reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(fields, ["credits_per_month", "features", "is_active", "max_site", "max_users", "price", "reason"]);
    assert_eq!(reply.body["errors"]["reason"], json!(["This field is required."]));
}

#[tokio::test]
async fn a4_no_edit_gives_a_paid_plan_away_or_puts_a_price_on_what_can_not_be_paid() {
    let app = TestApp::start().await;
    let developer = app.operator().await;
    let edit = async |slug: &str, price: &str| {
        let path = format!("/api/v1/billing/admin/plans/{slug}/");
        app.patch(&path).bearer(&developer.access).json(json!({"reason": "a mistake", "price": price})).send().await
    };

    let given_away = edit("starter", "0").await.expect(422);
    let priced = edit("enterprise", "499.00").await.expect(422);
    edit("gold", "1.00").await.expect(404);

    assert_eq!((&given_away.body["code"], &priced.body["code"]), (&json!("plan_price_required"), &json!("plan_price_refused")));
}

#[tokio::test]
async fn seeding_again_adds_what_is_missing_and_leaves_what_was_edited() {
    let app = TestApp::start().await;
    sqlx::query("delete from plans where slug = 'scale'").execute(app.pool()).await.unwrap();
    sqlx::query("update plans set price = 95 where slug = 'starter'").execute(app.pool()).await.unwrap();

    let added = igny8::db::seed(app.pool()).await.unwrap();

    assert_eq!(added, 1);
    let scale = app.get("/api/v1/auth/plans/scale/").send().await.expect(200);
    let starter = app.get("/api/v1/auth/plans/starter/").send().await.expect(200);
    assert_eq!((&scale.data()["price"], &starter.data()["price"]), (&json!("229.00"), &json!("95.00")));
}
