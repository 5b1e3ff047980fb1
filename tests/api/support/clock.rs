//! A clock that stands still until a test moves it.

use igny8::clock::{Clock, Timestamp};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Tells the time that the test says. Limiters see it move as well.
#[derive(Debug)]
pub(crate) struct ManualClock {
    started: Timestamp,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that stands at an instant, given in RFC 3339.
    pub(crate) fn at(instant: &str) -> Self {
        let started = instant.parse().expect("an instant in RFC 3339");
        ManualClock { started, elapsed: Mutex::default() }
    }

    /// Lets that much time pass, at once.
    pub(crate) fn advance(&self, time: Duration) {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.started + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
