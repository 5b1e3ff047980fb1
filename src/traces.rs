//! How a request went, step by step: spans for a collector that understands OpenTelemetry's protocol.
//!
//! Without `OTEL_EXPORTER_OTLP_ENDPOINT` each place here looks once whether there is a tracer, and that is all. A span tells
//! method, route template, status, request id and account, or what kind of work it was: never a path, a query, a header, a
//! body, an address or a text that somebody wrote, so no token and no password.

mod collector;

use crate::{build_info::BUILD, config::Tracing, ids::AccountId, secrets};
use collector::{Collector, Queue};
use futures_util::future::Either;
use opentelemetry::{
    Context, KeyValue,
    context::{FutureExt as _, WithContext},
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanLimits},
};
use std::sync::OnceLock;

pub use collector::Courier;

/// The name that spans are told under, among those of libraries that tell some too.
const SCOPE: &str = "igny8";
/// The header by which a trace goes on that began elsewhere (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Traces were started twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("traces were started twice")]
pub struct StartedTwice;

/// Starts tracing in this process, on the runtime of the caller. Call it once; what it gives carries the spans away.
///
/// # Errors
///
/// When something traces already.
pub fn start(settings: &Tracing) -> Result<Courier, StartedTwice> {
    let resource = Resource::builder_empty()
        .with_service_name(settings.service.clone())
        .with_attribute(KeyValue::new("service.version", BUILD.version))
        .with_attribute(KeyValue::new("service.instance.id", secrets::random_uuid().to_string()))
        .with_attribute(KeyValue::new("vcs.ref.head.revision", BUILD.commit))
        .build();
    let (queue, waiting) = Queue::new();
    let collector = Collector::new(&settings.spans_url, &resource);
    // Each setting is given: for those that are not, the library would look into the environment.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.ratio))))
        .with_span_limits(SpanLimits::default())
        .with_resource(resource)
        .with_span_processor(queue)
        .build();
    TRACER.set(provider.tracer(SCOPE)).map_err(|_| StartedTwice)?;
    Ok(Courier::send_off(collector, waiting))
}

/// The span around all that is done for one request; nothing where requests are not traced, or this one is not.
#[derive(Debug)]
pub struct RequestSpan(Option<Context>);

/// What is known of a request when it was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its route's template; none: no route took it.
    pub route: Option<&'a str>,
    /// Whose account it counted against.
    pub account: Option<AccountId>,
    /// How it was answered.
    pub status: u16,
}

impl RequestSpan {
    /// Begins it. `traceparent` gives the header of that name, where the request has one; it is not asked for when nothing is traced.
    pub fn begin<'a>(method: &str, request_id: &str, traceparent: impl FnOnce() -> Option<&'a str>) -> Self {
        let Some(tracer) = TRACER.get() else { return RequestSpan(None) };
        let parent = traceparent().map(|text| TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(text)));
        let method = known(method);
        let span = tracer
            .span_builder(method)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("http.request.method", method), KeyValue::new("igny8.request_id", request_id.to_owned())])
            .start_with_context(tracer, &parent.unwrap_or_default());
        let is_traced = span.is_recording();
        RequestSpan(is_traced.then(|| Context::new().with_span(span)))
    }

    /// The work that is done for the request: its parts find their parent while this runs.
    pub fn around<F: Future>(&self, work: F) -> Either<F, WithContext<F>> {
        match &self.0 {
            None => Either::Left(work),
            Some(context) => Either::Right(work.with_context(context.clone())),
        }
    }

    /// By which the log finds the trace.
    pub fn trace_id(&self) -> Option<String> {
        self.0.as_ref().map(|context| context.span().span_context().trace_id().to_string())
    }

    /// Ends it. One that is dropped instead, because its client hung up, tells no status.
    pub fn end(self, method: &str, answered: Answered<'_>) {
        let Some(context) = self.0 else { return };
        let span = context.span();
        let Answered { route, account, status } = answered;
        if let Some(route) = route {
            span.update_name(format!("{} {route}", known(method)));
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if let Some(account) = account {
            span.set_attribute(KeyValue::new("igny8.account_id", account.0));
        }
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A step that costs something, for as long as this lives.
#[derive(Debug)]
#[must_use = "it lasts as long as it is kept"]
pub struct Step(Option<Span>);

impl Step {
    /// A part of the request that is answered on this task; nothing elsewhere, or where that request is not traced.
    pub fn part(name: &'static str) -> Self {
        let is_traced = |_: &&SdkTracer| Context::map_current(|context| context.span().is_recording());
        Step(TRACER.get().filter(is_traced).map(|tracer| tracer.start(name)))
    }

    /// What no request waits for, as a trace of its own.
    pub fn own(name: &'static str) -> Self {
        Step::alone(name, SpanKind::Internal)
    }

    /// The same, where another server is asked.
    pub fn abroad(name: &'static str) -> Self {
        Step::alone(name, SpanKind::Client)
    }

    fn alone(name: &'static str, kind: SpanKind) -> Self {
        let begin = |tracer: &SdkTracer| tracer.span_builder(name).with_kind(kind).start_with_context(tracer, &Context::new());
        Step(TRACER.get().map(begin))
    }

    /// Says more of it. Only words of ours: no text that somebody wrote.
    pub fn note(&mut self, name: &'static str, value: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// It ended badly; why stands in the log.
    pub fn failed(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(""));
        }
    }
}

/// Only the one header. The other, `tracestate`, would carry texts of others along.
struct Parent<'a>(&'a str);

impl Extractor for Parent<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        (name == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// A method's name; a client may make one up.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}
