//! What a connection is doing. Its stream and its requests tell it, and whoever watches its deadlines looks now and then:
//! nobody is woken by a request, and none reads a clock.

use axum::http::Version;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

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

impl Phase {
    const ALL: [Phase; 4] = [Phase::Head, Phase::Working, Phase::Sending, Phase::Idle];

    fn number(self) -> u8 {
        match self {
            Phase::Head => 0,
            Phase::Working => 1,
            Phase::Sending => 2,
            Phase::Idle => 3,
        }
    }
}

/// The activity of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// A phase's number.
    phase: AtomicU8,
    /// Counts on whenever a phase begins or goes on: while it stands still, nothing happens.
    steps: AtomicU64,
    in_flight: AtomicUsize,
    /// Frames of HTTP/2 come at any time and don't mean that a request begins.
    has_frames: AtomicBool,
}

impl Activity {
    /// The phase, and how often something has happened so far.
    pub(super) fn seen(&self) -> (Phase, u64) {
        let number = self.phase.load(Relaxed);
        let phase = Phase::ALL.into_iter().find(|phase| phase.number() == number).unwrap_or(Phase::Head);
        (phase, self.steps.load(Relaxed))
    }

    /// Bytes came in: after a pause they are the beginning of a request.
    pub(super) fn bytes_received(&self) {
        if !self.has_frames.load(Relaxed)
            && self.phase.compare_exchange(Phase::Idle.number(), Phase::Head.number(), Relaxed, Relaxed).is_ok()
        {
            self.steps.fetch_add(1, Relaxed);
        }
    }

    /// Bytes went out: the client takes its answer.
    pub(super) fn bytes_sent(&self) {
        // A step although the phase is the same: the limit counts from the last progress.
        if self.phase.load(Relaxed) == Phase::Sending.number() {
            self.steps.fetch_add(1, Relaxed);
        }
    }

    /// A request's headers are complete.
    pub(super) fn request_begins(self: &Arc<Self>, version: Version) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.has_frames.store(version == Version::HTTP_2, Relaxed);
        self.enter(Phase::Working);
        InFlight(Arc::clone(self))
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase.number(), Relaxed);
        self.steps.fetch_add(1, Relaxed);
    }
}

/// A request that is being answered. It ends when this is dropped, whichever way that comes about.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// The handler is done.
    pub(super) fn answer_begins(&self) {
        self.0.enter(Phase::Sending);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.0.enter(Phase::Idle);
        }
    }
}
