//! Requests as a client writes them, and replies as he reads them. They pass the whole production router, without a socket.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use igny8::{router::App, web::pipeline::PeerAddress};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use tower::ServiceExt as _;

/// A request under way; owns all it needs, so that it can be sent from a task.
#[must_use = "a request does nothing until it is sent"]
pub(crate) struct Call {
    pub(super) app: App,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) address: IpAddr,
}

impl Call {
    /// A JSON body.
    pub(crate) fn json(self, body: Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// A form's body, as it stands on the wire.
    pub(crate) fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body.to_owned())
    }

    /// Any body.
    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// A person's access token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A site's key.
    pub(crate) fn key(self, site_key: &str) -> Self {
        self.header("x-api-key", site_key)
    }

    /// One header more; the same name may come twice.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header's name");
        self.headers.append(name, HeaderValue::try_from(value).expect("a header's value"));
        self
    }

    /// The same, of any bytes that a header may have.
    pub(crate) fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let name = HeaderName::try_from(name).expect("a header's name");
        self.headers.append(name, HeaderValue::from_bytes(value).expect("a header's value"));
        self
    }

    /// The client's address. Without it every request comes from an address of its own, so that no limit per address bites.
    #[allow(clippy::wrong_self_convention, reason = "reads as what it says: a request from an address")]
    pub(crate) fn from_address(mut self, address: &str) -> Self {
        self.address = address.parse().expect("an IP address");
        self
    }

    /// Where it goes.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// How it is asked.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// The whole request as one line, for people.
    pub(crate) fn shown(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        let headers = headers.collect::<Vec<_>>().join("; ");
        format!("{} {} [{headers}] {}", self.method, self.path, String::from_utf8_lossy(&self.body))
    }

    /// Sends it and gives the reply with its body unread.
    pub(crate) async fn open(self) -> Response {
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers;
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("igny8.test"));
        request.extensions_mut().insert(PeerAddress(SocketAddr::new(self.address, 40_000)));
        self.app.oneshot(request).await.expect("the router answers")
    }

    /// Sends it and reads the whole reply.
    pub(crate) async fn send(self) -> Reply {
        let (parts, body) = self.open().await.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, body, text, bytes: bytes.to_vec() }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// The body as JSON; null when it is none.
    pub(crate) body: Value,
    /// The body as it stands on the wire, as text.
    pub(crate) text: String,
    /// The body as it stands on the wire.
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    /// Asserts the status, and shows the body when it is another.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Asserts an error by its status and code.
    #[track_caller]
    pub(crate) fn expect_code(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.body["code"], code, "{}", reply.text);
        assert_eq!(reply.body["success"], false, "{}", reply.text);
        reply
    }

    /// What was asked for.
    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// A header's values, joined by a line break; empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter().map(|value| value.to_str().expect("plain header"));
        values.collect::<Vec<_>>().join("\n")
    }
}
