//! What a connection is doing. Its stream and its requests tell it, and whoever watches its deadlines reads it.

use axum::http::Version;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::watch;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reading a request's headers, or waiting for the first ones.
    Head,
    /// A handler is at work.
    Working,
    /// An answer is on its way.
    Sending,
    /// Between two requests.
    Idle,
}

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    phase: watch::Sender<Phase>,
    in_flight: AtomicUsize,
    /// Frames of HTTP/2 come at any time and don't mean that a request begins.
    has_frames: AtomicBool,
}

impl Activity {
    /// A new connection, and what tells each change.
    pub(super) fn begin() -> (Arc<Self>, watch::Receiver<Phase>) {
        let (phase, changes) = watch::channel(Phase::Head);
        (Arc::new(Activity { phase, in_flight: AtomicUsize::new(0), has_frames: AtomicBool::new(false) }), changes)
    }

    /// Bytes came in: after a pause they are the beginning of a request.
    pub(super) fn bytes_received(&self) {
        if !self.has_frames.load(Ordering::Relaxed) {
            self.phase.send_if_modified(|phase| {
                std::mem::replace(phase, if *phase == Phase::Idle { Phase::Head } else { *phase }) == Phase::Idle
            });
        }
    }

    /// Bytes went out: the client takes its answer.
    pub(super) fn bytes_sent(&self) {
        // Told although nothing changed: the limit counts from the last progress.
        self.phase.send_if_modified(|phase| *phase == Phase::Sending);
    }

    /// A request's headers are complete.
    pub(super) fn request_begins(self: &Arc<Self>, version: Version) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.has_frames.store(version == Version::HTTP_2, Ordering::Relaxed);
        self.phase.send_replace(Phase::Working);
        InFlight(Arc::clone(self))
    }
}

/// A request that is being answered. It ends when this is dropped, whichever way that comes about.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// The handler is done.
    pub(super) fn answer_begins(&self) {
        self.0.phase.send_replace(Phase::Sending);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.phase.send_replace(Phase::Idle);
        }
    }
}
