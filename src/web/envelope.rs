//! The one shape of every successful answer: `{"success": true, "data": …, "message"?: …, "request_id": …}`.
//!
//! Handlers give an [`Answer`] whose JSON is still open; the pipeline's shell closes it with the request id, so that the
//! body is serialised once.

use super::page::Page;
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The session cookies of the old system, which every sign-in and sign-out expires (requirements C3).
pub const SESSION_COOKIES: [&str; 2] = ["sessionid", "csrftoken"];

/// A successful answer under way.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Envelope { data: Result<Box<RawValue>, String>, message: Option<String> },
    List(Result<String, String>),
    Plain(String),
    File(&'static str, Vec<u8>),
}

/// JSON without its closing brace, waiting for the request id.
#[derive(Clone, Debug)]
pub struct Unsealed(pub String);

/// What went wrong while an answer was written; becomes a 500 in the shell.
#[derive(Clone, Debug)]
pub struct Unwritable(pub String);

impl Answer {
    /// 200 with data.
    pub fn ok(data: impl Serialize) -> Self {
        let data = serde_json::value::to_raw_value(&data).map_err(|error| error.to_string());
        Answer { status: StatusCode::OK, headers: Vec::new(), body: Body::Envelope { data, message: None } }
    }

    /// 201 with what was created.
    pub fn created(data: impl Serialize) -> Self {
        Answer { status: StatusCode::CREATED, ..Self::ok(data) }
    }

    /// 200 with one page of a list.
    pub fn list<T: Serialize>(page: Page<T>) -> Self {
        let body = serde_json::to_string(&page).map_err(|error| error.to_string());
        Answer { status: StatusCode::OK, headers: Vec::new(), body: Body::List(body) }
    }

    /// 200 with text for a terminal.
    pub fn plain(text: String) -> Self {
        Answer { status: StatusCode::OK, headers: Vec::new(), body: Body::Plain(text) }
    }

    /// 200 with a file to be kept under a name, which is plain ASCII.
    pub fn file(content_type: &'static str, name: &str, bytes: Vec<u8>) -> Self {
        let answer = Answer { status: StatusCode::OK, headers: Vec::new(), body: Body::File(content_type, bytes) };
        match HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            Ok(value) => answer.header(header::CONTENT_DISPOSITION, value),
            Err(_) => answer,
        }
    }

    /// 200 with a picture to be looked at.
    pub fn picture(content_type: &'static str, bytes: Vec<u8>) -> Self {
        Answer { status: StatusCode::OK, headers: Vec::new(), body: Body::File(content_type, bytes) }
    }

    /// The same answer under another status, for replays that remember theirs.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds one sentence that a person can read in a terminal.
    pub fn message(mut self, sentence: impl Into<String>) -> Self {
        if let Body::Envelope { message, .. } = &mut self.body {
            *message = Some(sentence.into());
        }
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Expires the known session cookies and asks the browser to drop all others (requirements C3).
    pub fn without_cookies(self) -> Self {
        let expired = expired_cookies().fold(self, |answer, cookie| answer.header(header::SET_COOKIE, cookie));
        expired.header(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cookies\""))
    }
}

/// Whether the client asks for text for a terminal rather than for JSON.
pub fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain"))
}

/// `Set-Cookie` values that end the old system's sessions in the browser.
pub fn expired_cookies() -> impl Iterator<Item = HeaderValue> {
    SESSION_COOKIES.iter().filter_map(|name| {
        HeaderValue::from_str(&format!("{name}=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax")).ok()
    })
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Body::Plain(text) => (self.status, text).into_response(),
            Body::File(content_type, bytes) => (self.status, [(header::CONTENT_TYPE, content_type)], bytes).into_response(),
            Body::List(Ok(json)) => unsealed(self.status, json.trim_end_matches('}').len(), json),
            Body::Envelope { data: Ok(data), message } => {
                let mut json = format!("{{\"success\":true,\"data\":{}", data.get());
                if let Some(message) = message {
                    json.push_str(",\"message\":");
                    json.push_str(&serde_json::Value::String(message).to_string());
                }
                unsealed(self.status, json.len(), json)
            }
            Body::List(Err(reason)) | Body::Envelope { data: Err(reason), .. } => {
                let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
                response.extensions_mut().insert(Unwritable(reason));
                response
            }
        };
        response.headers_mut().extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)).fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                if let Some(name) = name {
                    map.append(name, value);
                }
                map
            },
        ));
        response
    }
}

/// An answer whose JSON object is cut at `open` bytes, before its last brace.
fn unsealed(status: StatusCode, open: usize, mut json: String) -> Response {
    json.truncate(open);
    let mut response = status.into_response();
    response.extensions_mut().insert(Unsealed(json));
    response
}

/// The document's picture of an answer; handlers give [`Answer`].
#[derive(Serialize, ToSchema)]
pub struct Envelope<T> {
    /// Always true.
    #[schema(example = true)]
    pub success: bool,
    /// What was asked for.
    pub data: T,
    /// One sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The same as in `X-Request-Id`.
    pub request_id: String,
}
