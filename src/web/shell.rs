//! What stands around all routes: each request's id and time, whose connection it came by, a deadline, and how answers leave.

use super::{
    envelope::{Unsealed, Unwritable},
    pipeline::{BaseUrl, ClientAddress, PeerAddress, RequestId, RequestTime, is_mutation},
    problem::{Problem, Shape},
    trail::Trail,
};
use crate::{
    config::AppEnv,
    state::AppState,
    traces::{Answered, RequestSpan, TRACEPARENT},
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use ipnet::IpNet;
use std::{
    any::Any,
    net::{IpAddr, Ipv4Addr},
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::runtime::Handle;

/// A handler that takes longer is answered for with 503; a mutation goes on to its end all the same.
const HANDLER_DEADLINE: Duration = Duration::from_secs(15);

/// Around all routes: tells the request the time and whose it is, lets a mutation outlive its client, and writes the answer.
pub async fn shell(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().map_or_else(crate::secrets::request_id, |id| id.0.clone());
    let shape = shape_of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = RequestSpan::begin(method.as_str(), &request_id, || request.headers().get(TRACEPARENT)?.to_str().ok());
    let address = forwarded_address(&request, &state.config.trusted_proxies);
    let base = base_url(&request, &state, address);
    let (started, trail) = (state.clock.elapsed(), Trail::default());
    let extensions = request.extensions_mut();
    extensions.insert(RequestTime(state.clock.now()));
    extensions.insert(RequestId(request_id.clone()));
    extensions.insert(ClientAddress(address));
    extensions.insert(BaseUrl(base));
    extensions.insert(trail.clone());
    let response = run(&state, is_mutation(&method), span.around(next.run(request))).await;
    let response = seal(response, &request_id, shape, method == Method::HEAD);
    let (took, status) = (state.clock.elapsed().saturating_sub(started), response.status().as_u16());
    state.requests.answered(method.as_str(), trail.route(), status, took);
    let (route, account, trace_id) = (trail.route(), trail.account(), span.trace_id());
    span.end(method.as_str(), Answered { route, account, status });
    let account = account.map(|account| account.0);
    tracing::info!(request_id, trace_id, account, %method, route, path, status, ms = milliseconds(took), "request");
    response
}

/// To the microsecond, which is the nearest: most requests take less than one.
#[allow(clippy::float_arithmetic, reason = "a number for the log, which decides nothing")]
fn milliseconds(took: Duration) -> f64 {
    let microseconds = u32::try_from((took.as_nanos() + 500) / 1_000).unwrap_or(u32::MAX);
    // Divided last, and only once: the double that is nearest to the decimal, so that the log shows no tail.
    f64::from(microseconds) / 1_000.0
}

/// Runs the handler within its deadline. A panic becomes a 500; a mutation that is not over when its client is gone, or its time,
/// goes on by itself: nothing drops it between two awaits.
async fn run(state: &AppState, is_mutation: bool, handling: impl Future<Output = Response> + Send + 'static) -> Response {
    let handler = AssertUnwindSafe(handling).catch_unwind();
    let work = Work { handler: Some(Box::pin(state.tasks.track_future(handler))), is_mutation };
    match tokio::time::timeout(HANDLER_DEADLINE, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::internal("the handler panicked").into_response(),
        Err(_) => Problem::busy("deadline_exceeded", "This took too long; look before you send it again.").into_response(),
    }
}

type Handled = Result<Response, Box<dyn Any + Send>>;

/// A handler at work.
struct Work {
    handler: Option<Pin<Box<dyn Future<Output = Handled> + Send>>>,
    is_mutation: bool,
}

impl Future for Work {
    type Output = Handled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Handled> {
        let Some(handler) = &mut self.handler else { return Poll::Pending };
        let handled = ready!(handler.as_mut().poll(context));
        self.handler = None;
        Poll::Ready(handled)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let (Some(handler), true, Ok(runtime)) = (self.handler.take(), self.is_mutation, Handle::try_current()) {
            // The task is not awaited by anybody but the drain, which finds it in the tracker.
            drop(runtime.spawn(handler));
        }
    }
}

/// Writes what is still open: the envelope's end, or an error's body.
fn seal(mut response: Response, request_id: &str, shape: Shape, is_head: bool) -> Response {
    if let Some(Unwritable(reason)) = response.extensions_mut().remove::<Unwritable>() {
        response = Problem::internal(&reason).into_response();
    }
    if let Some(Unsealed(mut json)) = response.extensions_mut().remove::<Unsealed>() {
        json.push_str(",\"request_id\":\"");
        json.push_str(request_id);
        json.push_str("\"}");
        write(&mut response, HeaderValue::from_static("application/json"), json, is_head);
    }
    let is_bare =
        (response.status().is_client_error() || response.status().is_server_error()) && response.extensions().get::<Problem>().is_none();
    let problem =
        response.extensions_mut().remove::<Problem>().or_else(|| is_bare.then(|| Problem::of_status(response.status())).flatten());
    if let Some(problem) = problem {
        let (content_type, body) = problem.body(request_id, shape);
        write(&mut response, content_type, body, is_head);
    }
    response
}

/// Gives the answer its body, or to HEAD only its length: the router has told the length of what stood there before.
fn write(response: &mut Response, content_type: HeaderValue, body: String, is_head: bool) {
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = if is_head { Body::empty() } else { Body::from(body) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_to_the_microsecond_and_have_no_tail() {
        let shown = |nanos| milliseconds(Duration::from_nanos(nanos)).to_string();

        assert_eq!(
            [158_864, 158_499, 158_500, 400, 999_999, 1_000_001, 12_000_000].map(shown),
            ["0.159", "0.158", "0.159", "0", "1", "1", "12"]
        );
        // Whatever it is, three places at the most.
        for microseconds in (0..20_000_000).step_by(997) {
            let text = milliseconds(Duration::from_micros(microseconds)).to_string();
            assert!(text.split_once('.').is_none_or(|(_, places)| places.len() <= 3), "{microseconds}: {text}");
        }
    }
}
