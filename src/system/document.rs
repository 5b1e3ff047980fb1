//! What the OpenAPI document says besides the routes: who may call, what every operation can answer besides its own
//! answers, and names that stay.

use crate::{
    build_info::BUILD,
    web::{
        door::{self, Door},
        problem::ErrorBody,
    },
};
use axum::http::{Method, StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{
    OpenApi as _, ToSchema,
    openapi::{
        ComponentsBuilder, Content, ContentBuilder, Header, HeaderBuilder, Info, InfoBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response,
        ResponseBuilder,
        path::Operation,
        request_body::RequestBody,
        schema::Type,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const FORM: &str = "application/x-www-form-urlencoded";

const DESCRIPTION: &str = "\
IGNY8 sells AI content credits: accounts with a plan, a subscription, a credit balance, users and sites.

**Every path** is served with and without its trailing slash. **Bodies** are JSON or `application/x-www-form-urlencoded`. \
Decimals are taken as text or number and given as text; times are RFC 3339 in UTC.

**Answers** are `{\"success\": true, \"data\": …, \"request_id\": …}`; **errors** `{\"success\": false, \"error\": \"one sentence\", \
\"code\": \"for_programs\", \"errors\": {\"field\": [\"…\"]}, \"request_id\": …}`, or RFC 9457 where `Accept` asks for `application/problem+json`.

**People** send the access token of `auth/login/` as `Authorization: Bearer …`; **sites** send their key there, in \
`X-IGNY8-API-KEY` or in `X-API-Key`. Cookies are never read.";

/// The responses that operations share: status, name, when it comes.
const SHARED: [(StatusCode, &str, &str); 11] = [
    (
        StatusCode::BAD_REQUEST,
        "InvalidInput",
        "The input can't be read, or fields are wrong: `invalid_input` with all of them in `errors`, \
         `malformed_json`, `body_incomplete`.",
    ),
    (
        StatusCode::UNAUTHORIZED,
        "Unauthenticated",
        "No credentials, or such as open nothing: `authentication_required`, `malformed_credentials`, `token_invalid`, `token_expired`, `token_revoked`, `key_unknown`, `key_revoked`.",
    ),
    (StatusCode::PAYMENT_REQUIRED, "NoUsablePlan", "The account has no plan that may be used: `no_plan`, `plan_inactive`."),
    (
        StatusCode::FORBIDDEN,
        "Forbidden",
        "The caller may not: `role_required`, `session_not_allowed`, `site_key_not_allowed`, `no_account`, `account_suspended`, `account_cancelled`, `site_inactive`.",
    ),
    (StatusCode::NOT_FOUND, "NotFound", "Absent, or another tenant's: `not_found`."),
    (
        StatusCode::CONFLICT,
        "Conflict",
        "It collides with what is there, such as an Idempotency-Key used for other input: `idempotency_key_reused`.",
    ),
    (StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", "The body is too large: `body_too_large`."),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", "Neither JSON nor a form: `unsupported_media_type`."),
    (StatusCode::TOO_MANY_REQUESTS, "Throttled", "Too many requests; `Retry-After` says when to come back: `throttled`."),
    (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "Our fault: `internal_error`."),
    (StatusCode::SERVICE_UNAVAILABLE, "Busy", "Busy, or stopping; `Retry-After` says when to come back: `try_again`, `deadline_exceeded`."),
];

/// The headers that answers share: name, what it says, whether only throttled routes have it.
const HEADERS: [(&str, &str, bool); 4] = [
    ("X-Request-Id", "Names this request in our log; a sane one that was sent is kept.", false),
    ("X-Throttle-Limit", "Requests a minute.", true),
    ("X-Throttle-Remaining", "Requests that would pass now.", true),
    ("X-Throttle-Reset", "When all of them are to be had again, in unix seconds.", true),
];

/// An error where the client accepts `application/problem+json` (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct ProblemDetails {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    #[schema(example = 400)]
    pub status: u16,
    /// One plain sentence that says what to do next.
    pub detail: String,
    /// A word for programs.
    pub code: String,
    /// Every failing field with its sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<BTreeMap<String, Vec<String>>>,
    /// The same as in `X-Request-Id`.
    pub request_id: String,
}

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(ErrorBody, ProblemDetails)))]
struct Errors;

/// The document before the routes have added theirs.
pub fn base() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A person's access token, or a site's key."))
        .build();
    let key = |header: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(header, "A site's key.")));
    let own = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("site_key", key("X-IGNY8-API-KEY"))
        .security_scheme("site_key_short", key("X-API-Key"))
        .responses_from_iter(SHARED.map(|(status, name, description)| (name, shared(status, description))))
        .build();
    let mut document = Errors::openapi();
    document.info = info();
    let components = document.components.get_or_insert_default();
    components.security_schemes.extend(own.security_schemes);
    components.responses.extend(own.responses);
    components.headers.extend(HEADERS.map(|(name, description, _)| (name.to_owned(), RefOr::T(header(description)))));
    document
}

/// The document when all routes are in it.
pub fn finish(mut document: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    let slash = |path: String| if path.starts_with("/api/v1/") && !path.ends_with('/') { path + "/" } else { path };
    document.paths.paths = paths.into_iter().map(|(path, item)| (slash(path), item)).collect();
    for (path, method, operation) in door::operations_mut(&mut document) {
        operation.operation_id = Some(operation_id(&method, path));
        complete_request(operation);
        complete_responses(operation, &method, path);
    }
    document
}

/// Unique because method and path are, and the same as long as they are.
fn operation_id(method: &Method, path: &str) -> String {
    let path = path.trim_start_matches("/api/v1").replace(['{', '}'], "");
    let words = path.split(['/', '-', '_', '.']).filter(|word| !word.is_empty());
    std::iter::once(method.as_str().to_lowercase()).chain(words.map(str::to_owned)).collect::<Vec<_>>().join("_")
}

/// Whatever takes JSON takes the same fields as a form.
fn complete_request(operation: &mut Operation) {
    if let Some(RefOr::T(RequestBody { content, .. })) = &mut operation.request_body
        && let Some(json) = content.get(JSON).cloned()
    {
        content.entry(FORM.to_owned()).or_insert(json);
    }
}

/// What an operation's handler didn't say, because it isn't asked: doors, limits, bodies.
fn complete_responses(operation: &mut Operation, method: &Method, path: &str) {
    let is_guarded = door::door_of(operation) != Door::Open;
    let is_throttled = door::note(operation, door::THROTTLE_SCOPE).is_some();
    let has_body = operation.request_body.is_some();
    let has_input = has_body || *method != Method::GET || operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    for (status, name, _) in SHARED {
        let applies = match status {
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => is_guarded,
            StatusCode::BAD_REQUEST => has_input,
            StatusCode::NOT_FOUND => path.contains('{'),
            StatusCode::CONFLICT => is_guarded && *method == Method::POST,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => has_body,
            StatusCode::TOO_MANY_REQUESTS => is_throttled,
            _ => true,
        };
        if applies {
            operation.responses.responses.entry(status.as_str().to_owned()).or_insert_with(|| RefOr::Ref(Ref::from_response_name(name)));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            if response.description.is_empty() {
                // OpenAPI requires one, and the routes may leave it out where the status says it all.
                response.description = StatusCode::from_bytes(status.as_bytes())
                    .ok()
                    .and_then(|status| status.canonical_reason())
                    .unwrap_or("Answer")
                    .to_owned();
            }
            complete_response(response, status.starts_with(['4', '5']), is_throttled);
        }
    }
}

fn complete_response(response: &mut Response, is_error: bool, is_throttled: bool) {
    let shown = HEADERS.iter().filter(|(_, _, only_throttled)| is_throttled || !only_throttled);
    for (name, _, _) in shown {
        response.headers.entry((*name).to_owned()).or_insert_with(|| RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))));
    }
    if is_error {
        response.content.entry(JSON.to_owned()).or_insert_with(|| RefOr::T(content_of::<ErrorBody>()));
        response.content.entry(PROBLEM_JSON.to_owned()).or_insert_with(|| RefOr::T(content_of::<ProblemDetails>()));
    }
}

fn shared(status: StatusCode, description: &str) -> Response {
    let is_throttled = status == StatusCode::TOO_MANY_REQUESTS;
    let mut response = ResponseBuilder::new().description(description).build();
    if is_throttled || status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers.insert("Retry-After".to_owned(), RefOr::T(header("Seconds to wait.")));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers.insert("WWW-Authenticate".to_owned(), RefOr::T(header("`Bearer`.")));
    }
    complete_response(&mut response, true, is_throttled);
    response
}

fn content_of<T: ToSchema>() -> Content {
    ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name(T::name())))).build()
}

fn header(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

fn info() -> Info {
    InfoBuilder::new().title("IGNY8").version(BUILD.version).description(Some(DESCRIPTION)).build()
}
