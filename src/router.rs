//! Every route group and the door it stands behind, on one page.

use crate::{
    accounts, auth, billing, credits, gate, plans, sites,
    state::AppState,
    system,
    throttle::model::Scope,
    web::{
        extract::BODY_BYTES_MAX,
        identity::NAMED_ACCOUNT,
        pipeline::{Limit, open, signed_in, tenant, till, unthrottled},
        problem::Problem,
        shell::{dress, shell},
    },
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::from_fn_with_state,
    response::Response,
};
use std::{convert::Infallible, time::Duration};
use tower::{Layer as _, ServiceBuilder, util::BoxCloneSyncService};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    normalize_path::{NormalizePath, NormalizePathLayer},
};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Sign-in and registration take small bodies only.
const AUTH_BODY_BYTES_MAX: usize = 8 * 1024;
/// How long a browser may remember a preflight's answer.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// The whole service: every path with and without its trailing slash, directly.
pub type App = NormalizePath<BoxCloneSyncService<Request, Response, Infallible>>;

/// The routes under `/api/v1`, each behind its door, and what the document says of them.
fn api_v1(state: &AppState) -> OpenApiRouter<AppState> {
    let auth_limit = Limit::of(Scope::Auth);
    let billing_limit = Limit::of(Scope::Billing);
    let credits_limit = Limit::of(Scope::Credits);
    OpenApiRouter::new()
        // Anybody.
        .merge(open(gate::routes::sign_in(), Limit::of(Scope::AuthStrict), state).layer(DefaultBodyLimit::max(AUTH_BODY_BYTES_MAX)))
        .merge(
            open(auth::recovery::routes::tokens(), Limit::of(Scope::AuthStrict), state).layer(DefaultBodyLimit::max(AUTH_BODY_BYTES_MAX)),
        )
        .merge(open(auth::routes::tokens(), auth_limit, state).layer(DefaultBodyLimit::max(AUTH_BODY_BYTES_MAX)))
        .merge(unthrottled(plans::routes::catalogue()))
        .merge(unthrottled(system::routes::status()))
        .merge(open(sites::industries::routes::catalogue(), Limit::of(Scope::Default), state))
        // Signed in, whatever the account's state: see who you are, what you owe, and pay it.
        .merge(signed_in(gate::routes::me(), auth_limit, state))
        .merge(signed_in(auth::routes::sessions(), auth_limit, state))
        .merge(
            open(auth::addresses::routes::confirming(), Limit::of(Scope::AuthStrict), state)
                .layer(DefaultBodyLimit::max(AUTH_BODY_BYTES_MAX)),
        )
        .merge(signed_in(auth::addresses::routes::asking(), Limit::of(Scope::AuthStrict), state))
        .merge(signed_in(auth::mfa::routes::own(), Limit::of(Scope::AuthStrict), state))
        .merge(signed_in(auth::mfa::routes::reading(), auth_limit, state))
        .merge(signed_in(auth::mfa::routes::administration(), Limit::BILLING_ADMIN, state))
        .merge(signed_in(auth::recovery::routes::resending(), Limit::of(Scope::AuthStrict), state))
        .merge(signed_in(accounts::people::routes::reading(), Limit::CONTENT, state))
        .merge(signed_in(accounts::invitations::routes::reading(), Limit::CONTENT, state))
        .merge(signed_in(accounts::routes::reading(), Limit::of(Scope::Default), state))
        .merge(signed_in(accounts::routes::leaving(), billing_limit, state))
        .merge(signed_in(sites::routes::reading(), Limit::CONTENT, state))
        .merge(signed_in(billing::routes::paying(), billing_limit, state))
        .merge(signed_in(billing::routes::administration(), Limit::BILLING_ADMIN, state))
        .merge(signed_in(plans::routes::administration(), Limit::BILLING_ADMIN, state))
        .merge(signed_in(accounts::limits::routes::administration(), Limit::BILLING_ADMIN, state))
        .merge(signed_in(credits::routes::administration(), Limit::BILLING_ADMIN, state))
        .merge(signed_in(credits::routes::reading(), credits_limit, state))
        // Only while the account may act (requirements E).
        .merge(tenant(accounts::routes::managing(), Limit::CONTENT, state))
        .merge(tenant(accounts::people::routes::managing(), Limit::CONTENT, state))
        .merge(tenant(accounts::invitations::routes::managing(), Limit::CONTENT, state))
        .merge(tenant(credits::routes::quoting(), credits_limit, state))
        .merge(till(credits::routes::spending(), credits_limit, state))
        .merge(tenant(sites::routes::managing(), Limit::CONTENT, state))
        .merge(tenant(sites::routes::bridge(), Limit::of(Scope::Default), state))
}

/// All routes, and their document.
pub fn routes(state: &AppState) -> (Router<AppState>, OpenApi) {
    let (api, document) = OpenApiRouter::with_openapi(system::document::base())
        .nest("/api/v1", api_v1(state))
        .merge(unthrottled(system::routes::probes())) // /healthz, /readyz
        .split_for_parts();
    let document = system::document::finish(document);
    // api/docs, api/redoc, api/schema, api/v1/openapi.json
    let docs = open(system::routes::docs(&document).into(), Limit::of(Scope::System), state);
    (api.merge(docs), document)
}

/// The service and the document of its routes.
pub fn build(state: &AppState) -> (App, OpenApi) {
    let (routes, document) = routes(state);
    (around(routes, state), document)
}

/// What stands around all routes, whichever they are: a test puts routes of its own in, which fail or take too long.
pub fn around(routes: impl Into<Router<AppState>>, state: &AppState) -> App {
    let router = routes
        .into()
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async |_: Request| StatusCode::METHOD_NOT_ALLOWED)
        .with_state(state.clone());
    // Around the router and not around each route in it: those are cloned for each request with all that is around them.
    let around = ServiceBuilder::new()
        .layer(from_fn_with_state(state.clone(), dress))
        .layer(cors(&state.config.cors_allowed_origins))
        .layer(from_fn_with_state(state.clone(), shell))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .service(router);
    NormalizePathLayer::trim_trailing_slash().layer(BoxCloneSyncService::new(around))
}

/// Exact origins, credentials allowed: the SPA's logout call sends them.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect::<Vec<_>>();
    let exposed = [
        "x-request-id",
        "x-throttle-limit",
        "x-throttle-remaining",
        "x-throttle-reset",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "idempotent-replayed",
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static(NAMED_ACCOUNT),
        ])
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(CORS_MAX_AGE)
}
