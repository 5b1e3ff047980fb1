//! The doors, and what is asked at each. Read each function top to bottom: this is the order in which a request is asked.

use super::{
    door::{Door, mark},
    identity::{identify, recognise},
    problem::Problem,
    trail::{note_account, note_route},
};
use crate::{
    audit::model::Origin,
    clock::Timestamp,
    gate::{
        self,
        model::{Intent, Principal},
    },
    state::AppState,
    throttle::model::{Key, Scope, Verdict},
};
use axum::{
    extract::{Request, State},
    http::{Extensions, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use utoipa_axum::router::OpenApiRouter;

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

/// For everybody, as often as he likes (contract, section 7).
pub fn unthrottled(routes: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    routes.route_layer(from_fn(pass_unthrottled))
}

/// For everybody; counted by client address.
pub fn open(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::Open, |method| limit.scope(method)).route_layer(from_fn_with_state((state.clone(), limit), pass_open))
}

/// For persons with a token, whatever their account's state: they must be able to see what they owe and pay it.
/// A site key passes the gate here too (requirements E).
pub fn signed_in(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::SignedIn, |method| limit.scope(method)).route_layer(from_fn_with_state((state.clone(), limit), pass_signed_in))
}

/// For tenants that may act. The limit comes before the gate, because every request counts (requirements F).
pub fn tenant(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::Tenant, |method| limit.scope(method)).route_layer(from_fn_with_state((state.clone(), limit), pass_tenant))
}

/// For spends: asks all that [`tenant`] asks, but whom this process has let in before is asked for by the very statement
/// that spends, so that a debit costs one round trip and not two. Handlers behind it take a [`Payer`](super::payer::Payer).
pub fn till(routes: OpenApiRouter<AppState>, limit: Limit, state: &AppState) -> OpenApiRouter<AppState> {
    mark(routes, Door::Tenant, |method| limit.scope(method)).route_layer(from_fn_with_state((state.clone(), limit), pass_till))
}

// One layer per door: axum clones all that is within a layer for each request, and layers within layers over again.

async fn pass_unthrottled(request: Request, next: Next) -> Response {
    note_route(&request);
    next.run(request).await
}

async fn pass_open(State((state, limit)): State<(AppState, Limit)>, request: Request, next: Next) -> Response {
    note_route(&request);
    let key = Key::address(client_address(request.extensions()));
    match Counting::of(limit, 1, key, &request).count(&state).await {
        Ok(counted) => counted.tell(next.run(request).await),
        Err(too_fast) => *too_fast,
    }
}

async fn pass_signed_in(State((state, limit)): State<(AppState, Limit)>, request: Request, next: Next) -> Response {
    note_route(&request);
    let (principal, request) = match authenticate(&state, limit, request).await {
        Ok(known) => known, // who are you?       401, 403
        Err(stranger) => return *stranger,
    };
    let counted = match throttle(limit, &principal, &request).count(&state).await {
        Ok(counted) => counted, // how fast?          429
        Err(too_fast) => return *too_fast,
    };
    let answer = match witness(&state, &principal, &request).await {
        Err(problem) => problem.into_response(), // in whose account?
        Ok(()) => match admit_sites(&principal, &request) {
            Err(problem) => problem.into_response(), // may you act now?   402, 403
            Ok(()) => next.run(request).await,
        },
    };
    counted.tell(answer)
}

async fn pass_tenant(State((state, limit)): State<(AppState, Limit)>, request: Request, next: Next) -> Response {
    note_route(&request);
    let (principal, request) = match authenticate(&state, limit, request).await {
        Ok(known) => known, // who are you?       401, 403
        Err(stranger) => return *stranger,
    };
    let counted = match throttle(limit, &principal, &request).count(&state).await {
        Ok(counted) => counted, // how fast?          429
        Err(too_fast) => return *too_fast,
    };
    let answer = match witness(&state, &principal, &request).await {
        Err(problem) => problem.into_response(), // in whose account?
        Ok(()) => match admit(&principal, &request) {
            Err(problem) => problem.into_response(), // may you act now?   402, 403
            Ok(()) => next.run(request).await,
        },
    };
    counted.tell(answer)
}

async fn pass_till(State((state, limit)): State<(AppState, Limit)>, mut request: Request, next: Next) -> Response {
    note_route(&request);
    let Some(known) = recognise(&state, (request.headers(), request.uri()), request_time(request.extensions())) else {
        return pass_tenant(State((state, limit)), request, next).await;
    };
    note_account(request.extensions(), known.account);
    match Counting::of(limit, known.throttle_factor, Key::Account(known.account.0), &request).count(&state).await {
        Ok(counted) => {
            request.extensions_mut().insert(known);
            counted.tell(next.run(request).await)
        }
        Err(too_fast) => *too_fast,
    }
}

async fn authenticate(state: &AppState, limit: Limit, request: Request) -> Result<(Arc<Principal>, Request), Box<Response>> {
    let (mut parts, body) = request.into_parts();
    match identify(state, &parts).await {
        Ok(principal) => {
            let principal = Arc::new(principal);
            parts.extensions.insert(Arc::clone(&principal));
            Ok((principal, Request::from_parts(parts, body)))
        }
        Err(problem) => {
            // Nobody in particular: counted by address, so that guessing is slow.
            let scope = limit.scope(&parts.method);
            let verdict = state.throttle.check(scope, 1, Key::address(client_address(&parts.extensions))).await;
            let now = request_time(&parts.extensions);
            let refused = if verdict.retry_after.is_some() { too_fast(scope, &verdict, now) } else { problem };
            Err(Box::new(Counted { scope, verdict, now }.tell(refused.into_response())))
        }
    }
}

fn throttle(limit: Limit, principal: &Principal, request: &Request) -> Counting {
    let key =
        principal.counted_account().map_or_else(|| Key::address(client_address(request.extensions())), |account| Key::Account(account.0));
    if let Some(account) = principal.account() {
        note_account(request.extensions(), account.id);
    }
    let factor = principal.account().map_or(1, |account| account.throttle_factor);
    Counting::of(limit, factor, key, request)
}

/// Leaves word in the log of an account before staff change anything of it.
fn witness(state: &AppState, principal: &Principal, request: &Request) -> impl Future<Output = Result<(), Problem>> + use<> {
    let guest = match principal {
        Principal::Person(person) if person.is_guest() => person.user.account.as_ref().map(|account| (account.id, principal.actor())),
        Principal::Person(_) | Principal::Site(_) => None,
    };
    let guest = guest.filter(|_| is_mutation(request.method())).map(|(account, actor)| {
        let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
        let client_address = Some(client_address(request.extensions()).to_string());
        let what = format!("{} {}", request.method(), request.uri().path().chars().take(500).collect::<String>());
        (account, Origin { actor, request_id, client_address }, what)
    });
    let (state, now) = (state.clone(), request_time(request.extensions()));
    async move {
        match guest {
            Some((account, origin, what)) => Ok(gate::service::witness(&state.pool, (account, &origin), &what, now).await?),
            None => Ok(()),
        }
    }
}

fn admit(principal: &Principal, request: &Request) -> Result<(), Problem> {
    let intent = if is_mutation(request.method()) { Intent::Write } else { Intent::Read };
    Ok(gate::service::admit(principal, intent)?)
}

fn admit_sites(principal: &Principal, request: &Request) -> Result<(), Problem> {
    match principal {
        Principal::Person(_) => Ok(()),
        Principal::Site(_) => admit(principal, request),
    }
}

/// What of a request is counted: a body that waits to be read must not be held meanwhile.
struct Counting {
    scope: Scope,
    factor: i32,
    key: Key,
    now: Timestamp,
}

impl Counting {
    fn of(limit: Limit, factor: i32, key: Key, request: &Request) -> Self {
        Counting { scope: limit.scope(request.method()), factor, key, now: request_time(request.extensions()) }
    }

    async fn count(self, state: &AppState) -> Result<Counted, Box<Response>> {
        let Counting { scope, factor, key, now } = self;
        let counted = Counted { scope, verdict: state.throttle.check(scope, factor, key).await, now };
        if counted.verdict.retry_after.is_none() {
            return Ok(counted);
        }
        let refused = too_fast(scope, &counted.verdict, now).into_response();
        Err(Box::new(counted.tell(refused)))
    }
}

/// A request that was counted against a limit.
struct Counted {
    scope: Scope,
    verdict: Verdict,
    now: Timestamp,
}

impl Counted {
    /// Tells the limit that this request counted against, unless a handler refused it by another one and told that.
    fn tell(self, mut response: Response) -> Response {
        for (name, value) in throttle_headers(self.scope, &self.verdict, self.now) {
            response.headers_mut().entry(name).or_insert(value);
        }
        response
    }
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

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

pub(super) fn is_mutation(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn client_address(notes: &Extensions) -> IpAddr {
    notes.get::<ClientAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0)
}

pub(super) fn request_time(notes: &Extensions) -> Timestamp {
    notes.get::<RequestTime>().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}
