//! Periods are half-open and counted in seconds: a day has 86,400 of them, whatever a session's time zone thinks.

use crate::clock::Timestamp;
use chrono::TimeDelta;
use serde::Serialize;

crate::words! {
    /// How long one payment lasts.
    pub enum BillingCycle {
        /// 30 days.
        Monthly = "monthly",
        /// 365 days.
        Annual = "annual",
    }
}

impl BillingCycle {
    /// Exactly 30 or 365 times 86,400 seconds (requirements B2, B3).
    pub fn length(self) -> TimeDelta {
        match self {
            BillingCycle::Monthly => days(30),
            BillingCycle::Annual => days(365),
        }
    }
}

/// That many times 86,400 seconds.
pub fn days(count: u16) -> TimeDelta {
    TimeDelta::seconds(i64::from(count) * 86_400)
}

/// A stretch of time that includes its start and excludes its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    /// The first instant inside.
    pub starts_at: Timestamp,
    /// The first instant after.
    pub ends_at: Timestamp,
}

impl Period {
    /// A trial of so many days from now (B1).
    pub fn trial(trial_days: u16, now: Timestamp) -> Self {
        Period { starts_at: now, ends_at: now + days(trial_days) }
    }

    /// What a payment buys when nothing is running: from now (B2).
    pub fn starting(cycle: BillingCycle, now: Timestamp) -> Self {
        Period { starts_at: now, ends_at: now + cycle.length() }
    }

    /// What a renewal buys: from the end of this one, without gap or overlap (B3).
    pub fn next(self, cycle: BillingCycle) -> Self {
        Period { starts_at: self.ends_at, ends_at: self.ends_at + cycle.length() }
    }

    /// Whether the instant lies inside.
    pub fn contains(self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Whether it is over at the instant.
    pub fn is_over(self, now: Timestamp) -> bool {
        self.ends_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn instant(micros: i64) -> Timestamp {
        Timestamp::from_timestamp_micros(micros).unwrap()
    }

    fn cycles() -> impl Strategy<Value = BillingCycle> {
        prop_oneof![Just(BillingCycle::Monthly), Just(BillingCycle::Annual)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        /// B2 and B3: to the microsecond, whatever the instant: leap years and changes of summer time included.
        #[test]
        fn periods_touch_and_have_exactly_their_length(micros in 0i64..4_102_444_800_000_000, cycle in cycles(), renewals in 1usize..20) {
            let now = instant(micros);
            let mut period = Period::starting(cycle, now);
            for _ in 0..renewals {
                let next = period.next(cycle);
                prop_assert_eq!(next.starts_at, period.ends_at);
                let seconds = if cycle == BillingCycle::Monthly { 2_592_000 } else { 31_536_000 };
                prop_assert_eq!((next.ends_at - next.starts_at).num_microseconds(), Some(seconds * 1_000_000));
                prop_assert!(period.contains(period.starts_at) && !period.contains(period.ends_at));
                prop_assert!(next.contains(period.ends_at) && period.is_over(period.ends_at));
                period = next;
            }
        }
    }

    /// Nothing but whole seconds added to an instant: a million of them, to the microsecond.
    #[test]
    fn a_million_random_periods_are_exact_to_the_microsecond() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1_000_000 {
            // xorshift64*, so that a failure comes again.
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            let random = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 1;
            let micros = i64::try_from(random % 4_102_444_800_000_000).unwrap();
            let (cycle, seconds) = if random & 1 == 0 { (BillingCycle::Monthly, 2_592_000) } else { (BillingCycle::Annual, 31_536_000) };
            let period = Period::starting(cycle, instant(micros));
            let next = period.next(cycle);
            assert_eq!((period.starts_at.timestamp_micros(), period.ends_at.timestamp_micros()), (micros, micros + seconds * 1_000_000));
            assert_eq!((next.starts_at, next.ends_at.timestamp_micros()), (period.ends_at, micros + 2 * seconds * 1_000_000));
        }
    }

    #[test]
    fn b1_a_trial_lasts_so_many_days_from_now() {
        let now = instant(1_700_000_000_000_001);
        let trial = Period::trial(14, now);
        assert_eq!(trial.starts_at, now);
        assert_eq!((trial.ends_at - now).num_seconds(), 14 * 86_400);
    }
}
