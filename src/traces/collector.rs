//! Where spans go when they end: into a bounded queue, and from there in batches to the collector, over HTTP as protobuf.
//!
//! No request waits for any of it. What does not fit into the queue and what the collector does not take is lost, counted, and
//! told once.

use crate::meters;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use opentelemetry::Context;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use prost::Message as _;
use std::{
    error::Error,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Spans that may wait; one more is lost. Some hundred bytes each.
const WAITING_MAX: usize = 2_048;
/// Spans in one message at the most.
const BATCH_MAX: usize = 512;
/// How long a span waits for others to go with.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the collector may take.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// Its answer says how many it did not take, and why.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Takes spans where they end.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    was_full: AtomicBool,
}

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<SpanData>) {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        (Queue { waiting, was_full: AtomicBool::new(false) }, taken)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let Err(not_taken) = self.waiting.try_send(span) else { return };
        meters::spans_lost(1);
        // A full queue changes its mind at every span: one line is enough.
        if matches!(not_taken, TrySendError::Full(_)) && !self.was_full.swap(true, Ordering::Relaxed) {
            tracing::warn!("more spans end than the collector takes; igny8_spans_total counts those that are lost");
        }
    }

    /// Flushing is the courier's: this would block.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Carries spans to the collector until it is called back.
#[derive(Debug)]
pub struct Courier {
    stop: CancellationToken,
    carrying: JoinHandle<()>,
}

impl Courier {
    pub(super) fn send_off(collector: Collector, waiting: mpsc::Receiver<SpanData>) -> Self {
        let stop = CancellationToken::new();
        Courier { carrying: tokio::spawn(carry(collector, waiting, stop.clone())), stop }
    }

    /// Sends what still waits, for as long as `limit` allows. Spans that end from here on are lost.
    pub async fn close(self, limit: Duration) {
        self.stop.cancel();
        let mut carrying = self.carrying;
        if timeout(limit, &mut carrying).await.is_err() {
            carrying.abort();
            tracing::warn!("the collector of traces did not take the last spans in time");
        }
    }
}

async fn carry(collector: Collector, mut waiting: mpsc::Receiver<SpanData>, stop: CancellationToken) {
    let mut is_away = false;
    loop {
        let batch = fill(&mut waiting, &stop).await;
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if count == 0 {
            if stop.is_cancelled() {
                return;
            }
            continue;
        }
        let sent = timeout(SEND_WITHIN, collector.send(batch)).await.unwrap_or(Err(NotSent::TooSlow));
        let lost = sent.as_ref().map_or(count, |refused| (*refused).min(count));
        meters::spans_sent(count - lost);
        meters::spans_lost(lost);
        match &sent {
            Ok(_) if is_away => tracing::info!("the collector takes spans again"),
            Err(error) if !is_away => {
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(%error, cause, "the collector takes no spans; those of the meantime are lost");
            }
            Ok(_) | Err(_) => {}
        }
        is_away = sent.is_err();
    }
}

/// A full batch, or what came in the time of a pause; when it is time to stop, what is left.
async fn fill(waiting: &mut mpsc::Receiver<SpanData>, stop: &CancellationToken) -> Vec<SpanData> {
    let mut batch = Vec::new();
    let is_stopping = tokio::select! {
        () = take(waiting, &mut batch) => false,
        () = sleep(PAUSE) => false,
        () = stop.cancelled() => true,
    };
    if is_stopping {
        waiting.close();
        take(waiting, &mut batch).await;
    }
    batch
}

/// Until the batch is full, or nothing can come any more.
async fn take(waiting: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    while batch.len() < BATCH_MAX && waiting.recv_many(batch, BATCH_MAX - batch.len()).await > 0 {}
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("it can't be reached")]
    Connect(#[from] io::Error),
    #[error("it can't be asked")]
    Http(#[from] hyper::Error),
    #[error("the message can't be put together")]
    Message(#[from] hyper::http::Error),
    #[error("its answer can't be read")]
    Answer(#[source] Box<dyn Error + Send + Sync>),
    #[error("it said {0}")]
    Refused(StatusCode),
    #[error("it took too long")]
    TooSlow,
}

/// The collector, as it is asked.
pub(super) struct Collector {
    url: Uri,
    resource: ResourceAttributesWithSchema,
}

impl Collector {
    pub(super) fn new(url: &Uri, resource: &Resource) -> Self {
        Collector { url: url.clone(), resource: resource.into() }
    }

    /// Sends spans over a connection of their own. Gives how many it refused.
    async fn send(&self, spans: Vec<SpanData>) -> Result<u64, NotSent> {
        let message = ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(spans, &self.resource) };
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(self.url.path())
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(message.encode_to_vec())))?;
        let address = format!("{}:{}", self.url.host().unwrap_or(""), self.url.port_u16().unwrap_or(80));
        let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
        let asking = async move {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(NotSent::Answer)?;
            Ok::<_, NotSent>((status, body.to_bytes()))
        };
        // The connection ends when the one who asks on it is done.
        let (answered, _) = tokio::join!(asking, connection);
        let (status, body) = answered?;
        if !status.is_success() {
            return Err(NotSent::Refused(status));
        }
        // Spans that it can't read are told in an answer that is a success all the same; no answer that can be read tells none.
        let told = ExportTraceServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success);
        Ok(told.map_or(0, |told| u64::try_from(told.rejected_spans).unwrap_or(0)))
    }
}
