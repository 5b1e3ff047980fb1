//! When there is something to tell. No I/O.

use super::model::Level;

/// Below so many hundredths of a month's credits they are low.
pub const LOW_PERCENT: i64 = 20;

/// Whether owners are told: each time that it gets worse, and never that it gets better.
pub fn is_worth_telling(before: Level, now: Level) -> bool {
    before < now
}
