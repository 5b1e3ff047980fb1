//! A collector of traces for tests: takes OpenTelemetry's protocol over HTTP, as protobuf, and keeps what came.
#![allow(dead_code, reason = "every test binary includes this file and uses its own part of it")]

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message as _;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

/// How long a test waits for a span before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A span, as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// What it is called.
    pub(crate) name: String,
    /// OpenTelemetry's number: 1 internal, 2 server, 3 client.
    pub(crate) kind: i32,
    /// In hexadecimal, as the two that follow.
    pub(crate) trace: String,
    /// Its own id.
    pub(crate) span: String,
    /// Empty where it has none.
    pub(crate) parent: String,
    /// With what it says of itself, as text.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Whether its status is an error.
    pub(crate) is_error: bool,
    /// Nanoseconds from its beginning to its end.
    pub(crate) nanoseconds: u64,
    /// Who told it.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Told {
    /// What it says under a name; nothing: empty.
    pub(crate) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// How a collector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes all.
    Willing,
    /// Answers that it is busy.
    Refusing,
    /// Takes the message, and says that it could not use the first span of it.
    Picky,
}

/// Listens until its test is over.
#[derive(Clone)]
pub(crate) struct Collector {
    port: u16,
    told: watch::Sender<Vec<Told>>,
    mood: Arc<Mutex<Mood>>,
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    /// On a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (told, mood, raw) = (watch::Sender::new(Vec::new()), Arc::new(Mutex::new(Mood::Willing)), Arc::default());
        let collector = Collector { port, told, mood, raw };
        let app = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        collector
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How it behaves from now on.
    pub(crate) fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// What came so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.borrow().clone()
    }

    /// Every byte that came so far.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.raw.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until all that came so far pleases.
    pub(crate) async fn wait_for(&self, pleases: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let mut changes = self.told.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(|told| pleases(told))).await;
        if let Ok(Ok(told)) = waited {
            return told.clone();
        }
        let names = self.told().into_iter().map(|told| told.name).collect::<Vec<_>>();
        panic!("the spans that were waited for did not come; these did: {names:?}")
    }

    /// The span of the request with this id.
    pub(crate) async fn request(&self, id: &str) -> Told {
        let is_it = |told: &Told| told.says("igny8.request_id") == id;
        let told = self.wait_for(|told| told.iter().any(is_it)).await;
        told.into_iter().find(is_it).expect("it was waited for")
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let mood = *collector.mood.lock().unwrap_or_else(PoisonError::into_inner);
    if mood == Mood::Refusing {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    collector.raw.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&body);
    let message = ExportTraceServiceRequest::decode(body).expect("a message of the protocol");
    collector.told.send_modify(|told| told.extend(spans(message)));
    let rejected = ExportTracePartialSuccess { rejected_spans: 1, error_message: "one too many".to_owned() };
    let answer = ExportTraceServiceResponse { partial_success: (mood == Mood::Picky).then_some(rejected) };
    ([(header::CONTENT_TYPE, "application/x-protobuf")], answer.encode_to_vec()).into_response()
}

fn spans(message: ExportTraceServiceRequest) -> impl Iterator<Item = Told> {
    message.resource_spans.into_iter().flat_map(|group| {
        let resource = texts(group.resource.map_or(Vec::new(), |resource| resource.attributes));
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Told {
            name: span.name,
            kind: span.kind,
            trace: hex(&span.trace_id),
            span: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: texts(span.attributes),
            is_error: span.status.is_some_and(|status| status.code == 2),
            nanoseconds: span.end_time_unix_nano - span.start_time_unix_nano,
            resource: resource.clone(),
        })
    })
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|pair| (pair.key, pair.value.and_then(|value| value.value).map_or(String::new(), text))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
