//! How much longer a trial may get. No I/O.

use crate::{
    clock::Timestamp,
    period::{Period, days},
    subscriptions::model::SubscriptionStatus,
};

/// Days that one extension gives, at the most.
pub const EXTENSION_DAYS_MAX: i32 = 90;
/// Days of a trial with all its extensions, at the most: who needs longer is not trying any more.
pub const TRIAL_DAYS_MAX: u16 = 180;

/// Why a trial does not get longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotExtended {
    /// It was paid, cancelled, or is over.
    #[error("no trial is running")]
    NotOnTrial,
    /// It would be longer than any may be.
    #[error("the trial may be {} days longer", .days_left)]
    TooLong {
        /// Whole days that are left to give.
        days_left: i64,
    },
}

/// The trial with its later end.
pub fn extended(status: SubscriptionStatus, trial: Period, more_days: u16, now: Timestamp) -> Result<Period, NotExtended> {
    if status != SubscriptionStatus::Trialing || !trial.contains(now) {
        return Err(NotExtended::NotOnTrial);
    }
    let longer = Period { ends_at: trial.ends_at + days(more_days), ..trial };
    let latest = trial.starts_at + days(TRIAL_DAYS_MAX);
    if longer.ends_at > latest {
        return Err(NotExtended::TooLong { days_left: (latest - trial.ends_at).num_days().max(0) });
    }
    Ok(longer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn start() -> Timestamp {
        Timestamp::from_timestamp_micros(1_772_323_200_000_000).unwrap()
    }

    #[test]
    fn only_a_running_trial_gets_longer_and_not_without_end() {
        let trial = Period::trial(14, start());
        let micro = TimeDelta::microseconds(1);
        let at = |status, more, now| extended(status, trial, more, now);

        assert_eq!(at(SubscriptionStatus::Trialing, 7, trial.ends_at - micro).unwrap().ends_at, start() + days(21));
        assert_eq!(at(SubscriptionStatus::Trialing, 7, trial.ends_at), Err(NotExtended::NotOnTrial));
        for status in [SubscriptionStatus::Active, SubscriptionStatus::PastDue, SubscriptionStatus::Canceled] {
            assert_eq!(at(status, 7, start()), Err(NotExtended::NotOnTrial), "{status}");
        }
        assert!(at(SubscriptionStatus::Trialing, TRIAL_DAYS_MAX - 14, start()).is_ok());
        assert_eq!(at(SubscriptionStatus::Trialing, TRIAL_DAYS_MAX - 13, start()), Err(NotExtended::TooLong { days_left: 166 }));
    }
}
