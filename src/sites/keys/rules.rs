//! How long the old key lives.

use crate::clock::Timestamp;
use chrono::TimeDelta;

/// What becomes of the old keys when a new one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKeys {
    /// They stop at once.
    Revoked,
    /// They live until then, and no longer than they would have anyway.
    LiveUntil(Timestamp),
}

/// What an overlap of so many minutes means for the old keys.
pub fn old_keys(overlap_minutes: i32, now: Timestamp) -> OldKeys {
    if overlap_minutes <= 0 { OldKeys::Revoked } else { OldKeys::LiveUntil(now + TimeDelta::minutes(i64::from(overlap_minutes))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_lets_the_old_keys_live_and_none_revokes_them() {
        let now = Timestamp::UNIX_EPOCH;

        assert_eq!(old_keys(0, now), OldKeys::Revoked);
        assert_eq!(old_keys(60, now), OldKeys::LiveUntil(now + TimeDelta::hours(1)));
    }
}
