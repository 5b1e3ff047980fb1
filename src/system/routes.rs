//! HTTP of this room: how the server is, and the pages that tell what it can do.

use super::{
    model::{Health, Reachability, Readiness, Status},
    service::{self, NotReady},
};
use crate::{
    build_info::BUILD,
    state::AppState,
    web::{
        caller::Now,
        envelope::{Answer, Envelope},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{borrow::Cow, sync::Arc};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The pages run scripts and show pictures of our own, and call our own API. Both build style elements as they go, and
/// Redoc searches in a worker that it makes itself. Nothing comes from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
                           worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The files belong to a build, and a build may be replaced at any time.
const FILE_CACHING: &str = "public, max-age=3600";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What present clients ask to see whether anybody is there; unthrottled.
pub fn status() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_status))
}

/// What the machinery around the server asks.
pub fn probes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the server is up, with its version and time.
#[utoipa::path(get, path = "/system/status", tag = "system", responses(
    (status = 200, body = Envelope<Status>, description = "It is; `database` says whether that is too."),
))]
async fn get_status(State(state): State<AppState>, Now(now): Now) -> Answer {
    let (status, database) = match service::readiness(&state.pool).await {
        Ok(()) => ("ok", Reachability::Ok),
        Err(_) => ("degraded", Reachability::Unavailable),
    };
    Answer::ok(Status { status, version: BUILD.version, time: now, database })
}

/// The process and its build. Asks nobody, so that a database away doesn't get a sound process killed.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, body = Envelope<Health>, description = "The process answers.")))]
async fn healthz() -> Answer {
    Answer::ok(Health { status: "ok", version: BUILD.version, commit: BUILD.commit, dirty: BUILD.dirty, built_at: BUILD.built_at })
}

/// Whether requests may be sent here: the database answers, its schema is current, and the server isn't stopping.
#[utoipa::path(get, path = "/readyz", tag = "system", responses(
    (status = 200, body = Envelope<Readiness>, description = "They may."),
    (status = 503, body = ErrorBody, description = "Not now: `draining`, `database_unavailable`, `schema_outdated`."),
))]
async fn readyz(State(state): State<AppState>) -> Outcome<Answer> {
    if state.is_draining() {
        return Err(Problem::from(NotReady::Draining));
    }
    service::readiness(&state.pool).await?;
    Ok(Answer::ok(Readiness { status: "ready" }))
}

/// The document, and the two pages that show it. All of it is in the binary: they work without any network.
pub fn docs(document: &OpenApi) -> Router<AppState> {
    let json = document.to_json().map(Bytes::from).map_err(|error| error.to_string());
    let document = get(async move || match &json {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json.clone()).into_response(),
        Err(reason) => Problem::internal(reason).into_response(),
    });
    Router::new()
        .route("/api/schema", document.clone())
        .route("/api/v1/openapi.json", document)
        .route("/api/docs", get(async || page(include_str!("../../assets/docs/swagger.html"))))
        .route("/api/redoc", get(async || page(include_str!("../../assets/docs/redoc.html"))))
        .route("/api/docs/assets/{name}", get(async |Path(name): Path<String>| file(&name)))
}

fn page(html: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HTML), (header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], html).into_response()
}

/// A file of the pages, ours or the vendors'.
fn file(name: &str) -> Response {
    let of_text = |kind: &'static str, text: &'static str| file_response(kind, Cow::Borrowed(text.as_bytes()));
    match name {
        "swagger.js" => of_text(SCRIPT, include_str!("../../assets/docs/swagger.js")),
        "redoc.js" => of_text(SCRIPT, include_str!("../../assets/docs/redoc.js")),
        "redoc.standalone.js" => of_text(SCRIPT, include_str!("../../assets/redoc/redoc.standalone.js")),
        "swagger-ui.css" | "swagger-ui-bundle.js" | "favicon-32x32.png" => vendored(name),
        _ => Problem::not_found().into_response(),
    }
}

/// A file of Swagger UI, which utoipa-swagger-ui carries inside.
fn vendored(name: &str) -> Response {
    match utoipa_swagger_ui::serve(name, Arc::new(utoipa_swagger_ui::Config::from("/api/v1/openapi.json"))) {
        Ok(Some(file)) => {
            let mut response = file_response(&file.content_type, file.bytes);
            if file.gzpipped {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        Ok(None) => Problem::not_found().into_response(),
        Err(error) => Problem::internal(&error.to_string()).into_response(),
    }
}

fn file_response(kind: &str, bytes: Cow<'static, [u8]>) -> Response {
    let bytes = match bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FILE_CACHING)], bytes).into_response()
}
