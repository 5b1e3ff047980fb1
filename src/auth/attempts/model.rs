//! Attempts to log in, and the counters of those that failed.

use crate::clock::Timestamp;

/// An attempt, by the names of its two counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The client's address.
    pub address: [u8; 32],
    /// The same together with the e-mail address.
    pub pair: [u8; 32],
}

/// How somebody is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has logged in with this e-mail address from there lately.
    Stranger,
    /// Somebody has.
    Known,
}

/// A counter as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub sha256: Vec<u8>,
    /// Failures in a row.
    pub failures: i32,
    /// When the last of them was.
    pub last_failed_at: Timestamp,
}
