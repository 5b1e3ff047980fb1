//! The one reader of the wall clock. Below the routes time is a plain argument, so that tests can move it.

use chrono::{DateTime, SubsecRound, Utc};
use std::time::{Duration, Instant};

/// An instant in UTC. Whole microseconds, which is what Postgres keeps.
pub type Timestamp = DateTime<Utc>;

/// Tells the time to everything that needs it; injected through the state.
pub trait Clock: Send + Sync + 'static {
    /// The present, in whole microseconds.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process; never runs backwards. For limiters.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose `elapsed` begins now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
