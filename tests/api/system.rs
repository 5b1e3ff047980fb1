//! The server itself: its health, and the pages that tell what it can do.

use crate::support::TestApp;
use axum::http::{Method, StatusCode};
use std::{collections::HashSet, time::Duration};

#[tokio::test]
async fn health_tells_the_build_and_needs_no_database() {
    let app = TestApp::start().await;
    app.pool().close().await;

    let health = app.get("/healthz").send().await;

    let data = health.expect(200).data().clone();
    assert_eq!(data["status"], "ok");
    for name in ["version", "commit", "built_at"] {
        assert!(data[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {data}");
    }
}

#[tokio::test]
async fn readiness_needs_the_database_with_its_schema_and_a_server_that_stays() {
    let app = TestApp::start().await;

    let ready = app.get("/readyz").send().await;
    sqlx::raw_sql("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
        .execute(app.pool())
        .await
        .expect("an older schema");
    let outdated = app.get("/readyz/").send().await;
    app.state.start_draining();
    let draining = app.get("/readyz").send().await;

    ready.expect(200);
    for (reply, code) in [(outdated, "schema_outdated"), (draining, "draining")] {
        let reply = reply.expect(503);
        assert_eq!(reply.body["code"], code);
        assert!(reply.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn readiness_and_status_tell_that_the_database_is_away() {
    let app = TestApp::start().await;
    app.pool().close().await;

    let ready = app.get("/readyz").send().await;
    let status = app.get("/api/v1/system/status/").send().await;

    assert_eq!(ready.expect(503).body["code"], "database_unavailable");
    assert_eq!(
        (status.status, &status.data()["database"], &status.data()["status"]),
        (StatusCode::OK, &"unavailable".into(), &"degraded".into())
    );
}

#[tokio::test]
async fn the_status_is_what_present_clients_read_and_is_not_throttled() {
    let app = TestApp::start().await;

    for _ in 0..150 {
        app.get("/api/v1/system/status").send().await.expect(200);
    }
    app.clock.advance(Duration::from_secs(60));
    let status = app.get("/api/v1/system/status/").send().await.expect(200);

    assert_eq!(status.data()["time"], "2026-03-01T00:01:00Z");
    assert_eq!((&status.data()["status"], &status.data()["database"]), (&"ok".into(), &"ok".into()));
    assert!(!status.headers.contains_key("x-throttle-limit"));
}

#[tokio::test]
async fn documents_and_pages_are_served_with_and_without_their_slash_and_never_by_a_redirect() {
    let app = TestApp::start().await;

    for path in [
        "/api/docs",
        "/api/redoc",
        "/api/schema",
        "/api/v1/openapi.json",
        "/api/docs/assets/redoc.standalone.js",
        "/api/docs/assets/swagger-ui-bundle.js",
    ] {
        for slash in ["", "/"] {
            let reply = app.get(&format!("{path}{slash}")).send().await.expect(200);
            assert!(reply.headers.contains_key("x-throttle-limit"), "{path}{slash} is not throttled");
        }
    }
    app.get("/api/docs/assets/nothing.js").send().await.expect(404);
    app.get("/api/docs/assets/..%2f..%2fCargo.toml").send().await.expect(404);
}

#[tokio::test]
async fn the_pages_name_no_other_host_and_allow_none() {
    let app = TestApp::start().await;

    for path in ["/api/docs/", "/api/redoc/"] {
        let page = app.get(path).send().await.expect(200);
        let policy = page.headers["content-security-policy"].to_str().expect("text").to_owned();

        assert!(
            policy.contains("default-src 'none'") && !policy.contains("http") && !policy.contains("script-src 'self' 'unsafe"),
            "{policy}"
        );
        for address in page.text.split("src=\"").chain(page.text.split("href=\"")).skip(1) {
            assert!(address.starts_with(['/', '<']), "{path} names {}", address.get(..40).unwrap_or(address));
        }
        for asset in page.text.split('"').filter(|text| text.starts_with("/api/docs/assets/") && !text.ends_with(".png")) {
            app.get(asset).send().await.expect(200);
        }
    }
}

#[tokio::test]
async fn every_documented_path_is_served_by_the_documented_methods_only() {
    let app = TestApp::start().await;
    let document = app.get("/api/v1/openapi.json").send().await.expect(200).body;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = HashSet::new();

    for (path, item) in document["paths"].as_object().expect("paths") {
        assert!(!path.starts_with("/api/v1/") || path.ends_with('/'), "{path} lacks its slash");
        let item = item.as_object().expect("methods");
        for (method, operation) in item {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let statuses = operation["responses"].as_object().expect("responses");
            let door = operation["x-door"].as_str();
            for (status, applies) in [
                ("401", matches!(door, Some("signed_in" | "tenant"))),
                ("404", path.contains('{')),
                ("415", operation.get("requestBody").is_some()),
                ("429", operation.get("x-throttle-scope").is_some()),
                ("500", true),
                ("503", true),
            ] {
                assert!(!applies || statuses.contains_key(status), "{method} {path} does not document {status}");
            }
        }
        let served = item.keys().map(|method| method.to_uppercase()).collect::<HashSet<_>>();
        let concrete = path.replace("{id}", "1").replace("{slug}", "starter").replace("{operation}", "clustering");
        let wrong = if served.contains("PUT") { Method::PATCH } else { Method::PUT };
        let refused = app.request(wrong, &concrete).send().await.expect(405);
        let allowed = refused.headers["allow"]
            .to_str()
            .expect("text")
            .split(',')
            .map(|method| method.trim().to_owned())
            .filter(|method| method != "HEAD")
            .collect::<HashSet<_>>();
        assert_eq!(allowed, served, "{path}");
    }
}
