//! The doors, and what is asked at each. Read each function top to bottom: this is the order in which a request is asked.

use super::{
    door::{Door, mark},
    envelope::{Unsealed, Unwritable},
    identity::identify,
    problem::{Problem, Shape},
};
use crate::{
    audit::model::Origin,
    clock::Timestamp,
    config::AppEnv,
    gate::{
        self,
        model::{Intent, Principal},
    },
    state::AppState,
    throttle::model::{Key, Scope, Verdict},
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tower::ServiceBuilder;
use utoipa_axum::router::OpenApiRouter;

/// A handler that takes longer is answered for with 503; a mutation goes on to its end all the same.
const HANDLER_DEADLINE: Duration = Duration::from_secs(15);

/// The other end of the connection; the server puts it into each request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// The client's address, seen through trusted proxies.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// The id that the answer carries.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The instant of the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestTime(pub Timestamp);

/// The base of absolute links: `https://api.example.com`.
#[derive(Debug, Clone)]
pub struct BaseUrl(pub String);

/// Which limit a group of routes counts against.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    read: Scope,
    write: Scope,
}

impl Limit {
    /// One scope for all methods.
    pub const fn of(scope: Scope) -> Self {
        Limit { read: scope, write: scope }
    }

    /// Sites and their content.
    pub const CONTENT: Limit = Limit { read: Scope::ContentRead, write: Scope::ContentWrite };
    /// Billing administration.
    pub const BILLING_ADMIN: Limit = Limit { read: Scope::BillingAdminRead, write: Scope::BillingAdminWrite };

    fn scope(self, method: &Method) -> Scope {
        if is_mutation(method) { self.write } else { self.read }
    }
}

/// For everybody; counted by client address.
pub fn open(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::Open, |method| limit.scope(method)).route_layer(from_fn_with_state((state.clone(), limit), throttle_address))
}

/// For persons with a token, whatever their account's state: they must be able to see what they owe and pay it.
/// A site key passes the gate here too (requirements E).
pub fn signed_in(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::SignedIn, |method| limit.scope(method)).route_layer(
        ServiceBuilder::new()
            .layer(from_fn_with_state((state.clone(), limit), authenticate)) // who are you?       401, 403
            .layer(from_fn_with_state((state.clone(), limit), throttle)) // how fast?          429
            .layer(from_fn_with_state(state.clone(), witness)) // in whose account?
            .layer(from_fn_with_state(state.clone(), admit_sites)), // may you act now?   402, 403
    )
}

/// For tenants that may act. The limit comes before the gate, because every request counts (requirements F).
pub fn tenant(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::Tenant, |method| limit.scope(method)).route_layer(
        ServiceBuilder::new()
            .layer(from_fn_with_state((state.clone(), limit), authenticate)) // who are you?       401, 403
            .layer(from_fn_with_state((state.clone(), limit), throttle)) // how fast?          429
            .layer(from_fn_with_state(state.clone(), witness)) // in whose account?
            .layer(from_fn_with_state(state.clone(), admit)), // may you act now?   402, 403
    )
}

async fn authenticate(State((state, limit)): State<(AppState, Limit)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&state, &parts).await {
        Ok(principal) => {
            parts.extensions.insert(Arc::new(principal));
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => {
            // Nobody in particular: counted by address, so that guessing is slow.
            let scope = limit.scope(&parts.method);
            let verdict = state.throttle.check(scope, 1, Key::address(client_address(&parts.extensions)));
            let now = request_time(&parts.extensions);
            let refused = if verdict.retry_after.is_some() { too_fast(scope, &verdict, now) } else { problem };
            with_throttle_headers(refused.into_response(), scope, &verdict, now)
        }
    }
}

/// Leaves word in the log of an account before staff change anything of it.
async fn witness(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let guest = request.extensions().get::<Arc<Principal>>().and_then(|principal| match &**principal {
        Principal::Person(person) if person.is_guest() => person.user.account.as_ref().map(|account| (account.id, principal.actor())),
        Principal::Person(_) | Principal::Site(_) => None,
    });
    if let Some((account, actor)) = guest.filter(|_| is_mutation(request.method())) {
        let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
        let client_address = Some(client_address(request.extensions()).to_string());
        let origin = Origin { actor, request_id, client_address };
        let what = format!("{} {}", request.method(), request.uri().path().chars().take(500).collect::<String>());
        let written = gate::service::witness(&state.pool, (account, &origin), &what, request_time(request.extensions())).await;
        if let Err(error) = written {
            return Problem::from(error).into_response();
        }
    }
    next.run(request).await
}

async fn admit(State(_): State<AppState>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Arc<Principal>>() {
        None => Problem::internal("route stands behind no door").into_response(),
        Some(principal) => match gate::service::admit(principal, intent_of(request.method())) {
            Ok(()) => next.run(request).await,
            Err(refused) => Problem::from(refused).into_response(),
        },
    }
}

async fn admit_sites(state: State<AppState>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Arc<Principal>>().map(|principal| matches!(**principal, Principal::Person(_))) {
        Some(true) => next.run(request).await,
        Some(false) | None => admit(state, request, next).await,
    }
}

async fn throttle(State((state, limit)): State<(AppState, Limit)>, request: Request, next: Next) -> Response {
    let Some(principal) = request.extensions().get::<Arc<Principal>>() else {
        return Problem::internal("route stands behind no door").into_response();
    };
    let key =
        principal.counted_account().map_or_else(|| Key::address(client_address(request.extensions())), |account| Key::Account(account.0));
    let factor = principal.account().and_then(|account| account.plan.as_ref()).map_or(1, |plan| plan.throttle_factor);
    count(&state, limit, factor, key, request, next).await
}

async fn throttle_address(State((state, limit)): State<(AppState, Limit)>, request: Request, next: Next) -> Response {
    let key = Key::address(client_address(request.extensions()));
    count(&state, limit, 1, key, request, next).await
}

async fn count(state: &AppState, limit: Limit, factor: i32, key: Key, request: Request, next: Next) -> Response {
    let scope = limit.scope(request.method());
    let now = request_time(request.extensions());
    let verdict = state.throttle.check(scope, factor, key);
    let response = if verdict.retry_after.is_some() { too_fast(scope, &verdict, now).into_response() } else { next.run(request).await };
    with_throttle_headers(response, scope, &verdict, now)
}

/// 429 with `Retry-After` and the limit that was reached.
pub fn too_fast(scope: Scope, verdict: &Verdict, now: Timestamp) -> Problem {
    let seconds = whole_seconds(verdict.retry_after.unwrap_or_default());
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "throttled", format!("Too many requests; try again in {seconds} s."));
    let problem = problem.header(header::RETRY_AFTER, HeaderValue::from(seconds));
    throttle_headers(scope, verdict, now).fold(problem, |problem, (name, value)| problem.header(name, value))
}

fn throttle_headers(scope: Scope, verdict: &Verdict, now: Timestamp) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let reset = whole_seconds(verdict.reset_after);
    let headers = [
        ("x-throttle-limit", verdict.limit.to_string()),
        ("x-throttle-remaining", verdict.remaining.to_string()),
        ("x-throttle-reset", now.timestamp().saturating_add_unsigned(reset).to_string()),
        ("ratelimit", format!("\"{scope}\";r={};t={reset}", verdict.remaining)),
        ("ratelimit-policy", format!("\"{scope}\";q={};w=60", verdict.limit)),
    ];
    headers.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)))
}

/// Tells the limit that this request counted against, unless a handler refused it by another one and told that.
fn with_throttle_headers(mut response: Response, scope: Scope, verdict: &Verdict, now: Timestamp) -> Response {
    for (name, value) in throttle_headers(scope, verdict, now) {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Around all routes: tells the request the time and whose it is, lets a mutation outlive its client, and writes the answer.
pub async fn shell(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().map_or_else(crate::secrets::request_id, |id| id.0.clone());
    let shape = shape_of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let address = forwarded_address(&request, &state.config.trusted_proxies);
    let base = base_url(&request, &state, address);
    let started = state.clock.elapsed();
    let extensions = request.extensions_mut();
    extensions.insert(RequestTime(state.clock.now()));
    extensions.insert(RequestId(request_id.clone()));
    extensions.insert(ClientAddress(address));
    extensions.insert(BaseUrl(base));
    let response = run(&state, is_mutation(&method), request, next).await;
    let response = seal(response, &request_id, shape);
    let micros = state.clock.elapsed().saturating_sub(started).as_micros();
    tracing::info!(request_id, %method, path, status = response.status().as_u16(), micros, "request");
    response
}

/// Runs the handler in a task of its own: a panic becomes a 500, and a client that hangs up can't drop a mutation between
/// two awaits.
async fn run(state: &AppState, is_mutation: bool, request: Request, next: Next) -> Response {
    let task = tokio::spawn(state.tasks.track_future(next.run(request)));
    let abort = (!is_mutation).then(|| AbortOnDrop(task.abort_handle()));
    let response = match tokio::time::timeout(HANDLER_DEADLINE, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(failed)) => Problem::internal(&format!("the handler did not end: {failed}")).into_response(),
        Err(_) => Problem::busy("deadline_exceeded", "This took too long; look before you send it again.").into_response(),
    };
    drop(abort);
    response
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes what is still open: the envelope's end, or an error's body.
fn seal(mut response: Response, request_id: &str, shape: Shape) -> Response {
    if let Some(Unwritable(reason)) = response.extensions_mut().remove::<Unwritable>() {
        response = Problem::internal(&reason).into_response();
    }
    if let Some(Unsealed(mut json)) = response.extensions_mut().remove::<Unsealed>() {
        json.push_str(",\"request_id\":\"");
        json.push_str(request_id);
        json.push_str("\"}");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = Body::from(json);
    }
    let is_bare =
        (response.status().is_client_error() || response.status().is_server_error()) && response.extensions().get::<Problem>().is_none();
    let problem =
        response.extensions_mut().remove::<Problem>().or_else(|| is_bare.then(|| Problem::of_status(response.status())).flatten());
    if let Some(problem) = problem {
        let (content_type, body) = problem.body(request_id, shape);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        *response.body_mut() = Body::from(body);
    }
    response
}

/// Outermost, so that no answer goes without: also not a preflight's, which never comes as far as the shell.
pub async fn dress(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let id = incoming_request_id(request.headers()).unwrap_or_else(crate::secrets::request_id);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(header::CACHE_CONTROL, "no-store");
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    default(header::REFERRER_POLICY, "no-referrer");
    if state.config.app_env == AppEnv::Production {
        default(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

fn intent_of(method: &Method) -> Intent {
    if is_mutation(method) { Intent::Write } else { Intent::Read }
}

fn is_mutation(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// An incoming id is kept when it is 1 to 128 plain characters.
fn incoming_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_sane = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    is_sane.then(|| id.to_owned())
}

fn shape_of(headers: &HeaderMap) -> Shape {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.contains("application/problem+json") { Shape::ProblemJson } else { Shape::Envelope }
}

fn peer(request: &Request) -> IpAddr {
    request.extensions().get::<PeerAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical())
}

/// The peer, unless it is a trusted proxy; then the rightmost address of `X-Forwarded-For` that is none.
fn forwarded_address(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer(request);
    if !is_trusted(&peer) {
        return peer;
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops = forwarded.flat_map(|value| value.split(',')).map(|hop| hop.trim().parse::<IpAddr>().map(|address| address.to_canonical()));
    let hops = hops.collect::<Vec<_>>();
    // A hop that is no address was not written by a proxy of ours: stop at the last one that was.
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let Ok(address) = hop else { break };
        client = address;
        if !is_trusted(&address) {
            break;
        }
    }
    client
}

fn base_url(request: &Request, state: &AppState, client: IpAddr) -> String {
    if let Some(url) = &state.config.public_url {
        return url.clone();
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let is_proxied = client != peer(request);
    let proto =
        request.headers().get("x-forwarded-proto").and_then(|proto| proto.to_str().ok()).filter(|proto| is_proxied && *proto == "https");
    format!("{}://{host}", proto.unwrap_or("http"))
}

fn client_address(notes: &Extensions) -> IpAddr {
    notes.get::<ClientAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0)
}

pub(super) fn request_time(notes: &Extensions) -> Timestamp {
    notes.get::<RequestTime>().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}
