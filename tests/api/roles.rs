//! Two URLs: the owner migrates, and the application's role can do all that the API needs and nothing to tables or history.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{PASSWORD, TestApp, TestDatabase};
use igny8::{accounts, db, period::days, sites};
use secrecy::SecretString;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, raw_sql};
use std::time::Duration;

async fn execute(pool: &PgPool, statement: String) {
    raw_sql(AssertSqlSafe(statement.clone())).execute(pool).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// The same database for another role.
fn as_role(url: &str, role: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    format!("{scheme}://{role}:password@{host}")
}

/// An empty database that its owner has migrated for a role that owns nothing, and that role.
async fn migrated() -> (TestDatabase, String) {
    let database = TestDatabase::new().await;
    // Roles belong to the whole server: one that a failed test left must not be in the way.
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(database.pool()).await.unwrap();
    let role = format!("app_of_{name}");
    execute(database.pool(), format!("drop schema public cascade; create schema public; create role {role} login password 'password'"))
        .await;
    // As it was in every database before Postgres 15.
    execute(database.pool(), "grant create on schema public to public".to_owned()).await;
    let owner = db::connect_options(&SecretString::from(database.url().to_owned()), "DATABASE_MIGRATE_URL").unwrap();
    db::migrate(&owner).await.unwrap();
    db::grant_to_application(&owner, &role).await.unwrap();
    (database, role)
}

async fn drop_role(pool: &PgPool, role: &str) {
    execute(pool, format!("drop owned by {role}; drop role {role}")).await;
}

/// Everything that the API does, once.
async fn live_through_it(app: &TestApp) {
    let (ana, staff) = (app.register("ana@example.com").await, app.operator().await);
    let post = |path: &str, body| app.post(path).bearer(&ana.access).json(body).send();
    let staff_post = |path: &str, body| app.post(path).bearer(&staff.access).json(body).send();
    let account = format!("/api/v1/billing/admin/accounts/{}", ana.account_id);

    app.post("/api/v1/auth/refresh/").json(json!({"refresh": ana.refresh})).send().await.expect(200);
    let site = post("/api/v1/auth/sites/", json!({"name": "Blog"})).await.expect(201).data()["id"].as_i64().unwrap();
    let key = post(&format!("/api/v1/auth/sites/{site}/api-key/"), json!({})).await.expect(201).data()["key"].as_str().unwrap().to_owned();
    app.get("/api/v1/integration/verify-key/").key(&key).send().await.expect(200);
    let spend = app.post("/api/v1/billing/credits/deduct/").key(&key).header("idempotency-key", "post-7");
    spend.json(json!({"operation": "clustering", "quantity": 1})).send().await.expect(201);
    app.get("/api/v1/billing/credits/transactions/").bearer(&ana.access).send().await.expect(200);
    post("/api/v1/account/upgrade/", json!({"plan_slug": "starter", "payment_method": "bank_transfer"})).await.expect(201);
    let transfer = json!({"account_id": ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana"});
    staff_post("/api/v1/billing/admin/confirm-bank-transfer/", transfer).await.expect(200);
    staff_post(&format!("{account}/credits/"), json!({"amount": 50, "reason": "a present"})).await.expect(201);
    staff_post(&format!("{account}/suspend/"), json!({"reason": "a test"})).await.expect(200);
    staff_post(&format!("{account}/reactivate/"), json!({"reason": "a test"})).await.expect(200);
    staff_post(&format!("{account}/plan/"), json!({"plan_slug": "enterprise", "reason": "a test"})).await.expect(200);
    let plan = app.patch("/api/v1/billing/admin/plans/growth/").bearer(&staff.access).json(json!({"price": "140", "reason": "a test"}));
    plan.send().await.expect(200);
    let cost =
        app.patch("/api/v1/billing/admin/credit-costs/clustering/").bearer(&staff.access).json(json!({"cost": 11, "reason": "a test"}));
    cost.send().await.expect(200);
    let change = app.patch("/api/v1/account/").bearer(&ana.access).json(json!({"name": "Ana Writes"}));
    change.send().await.expect(200);
    app.delete(&format!("/api/v1/auth/sites/{site}/")).bearer(&ana.access).send().await.expect(200);
    post("/api/v1/auth/change-password/", json!({"old_password": PASSWORD, "new_password": "another long password"})).await.expect(200);
    post("/api/v1/account/cancel/", json!({"at_period_end": true})).await.expect(200);
    app.delete("/api/v1/account/").bearer(&ana.access).send().await.expect(200);
    app.get("/readyz").send().await.expect(200);
}

#[tokio::test]
async fn the_applications_role_lives_the_whole_story_and_the_porters_too() {
    let (database, role) = migrated().await;
    let (owner, url) = (database.pool().clone(), as_role(database.url(), &role));
    let app = TestApp::connected(database, url, |_| {}).await;

    let user: String = sqlx::query_scalar("select current_user::text").fetch_one(app.pool()).await.unwrap();
    live_through_it(&app).await;
    app.advance(Duration::from_secs(60 * 86_400));
    accounts::life::end_periods(app.pool(), days(3), app.now()).await.unwrap();
    sites::service::purge_deleted(app.pool(), 100, app.now()).await.unwrap();
    accounts::life::purge_deleted(app.pool(), sites::service::go_with_account, app.now()).await.unwrap();

    assert_eq!(user, role);
    app.verify().await;
    app.pool().close().await;
    drop_role(&owner, &role).await;
}

#[tokio::test]
async fn the_applications_role_changes_neither_tables_nor_history() {
    let (database, role) = migrated().await;
    let (owner, url) = (database.pool().clone(), as_role(database.url(), &role));
    let mut connection = PgConnection::connect(&url).await.unwrap();

    for statement in [
        "create table mine (id bigint)",
        "create schema mine",
        "create function mine() returns int language sql as 'select 1'",
        "alter table accounts add column mine bigint",
        "alter table credit_transactions disable trigger user",
        "drop table accounts",
        "truncate sessions",
        "update credit_transactions set description = 'mine'",
        "delete from credit_transactions",
        "truncate credit_transactions",
        "update audit_log set actor = 'mine'",
        "delete from audit_log",
        "truncate audit_log",
        "delete from invoices",
        "delete from payments",
        "delete from subscription_periods",
        "delete from _sqlx_migrations",
        "update _sqlx_migrations set success = false",
    ] {
        let refused = raw_sql(statement).execute(&mut connection).await.expect_err(statement);
        let state = refused.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        assert_eq!(state.as_deref(), Some("42501"), "{statement}: {refused}");
    }
    raw_sql("select count(*) from credit_transactions").execute(&mut connection).await.unwrap();

    connection.close().await.unwrap();
    drop_role(&owner, &role).await;
    database.close().await;
}
