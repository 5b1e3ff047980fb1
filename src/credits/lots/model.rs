//! A lot.

use crate::{clock::Timestamp, money::Credits};

/// Extra credits that end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The entry that gave it; 0 for all that never expires.
    pub seq: i64,
    /// What was left of it when it was settled.
    pub remaining: Credits,
    /// The first instant at which it is gone; none for lot 0.
    pub expires_at: Option<Timestamp>,
}
