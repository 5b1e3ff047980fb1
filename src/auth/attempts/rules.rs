//! How long somebody waits who has failed so often.

use super::model::{Attempt, Counter, Standing};
use crate::{auth::model::Email, clock::Timestamp, period::days, secrets};
use chrono::TimeDelta;
use std::net::IpAddr;

/// The first pause; it doubles with each failure.
const FIRST_PAUSE_SECONDS: i64 = 30;

/// How patient a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    /// Failures without a pause.
    free: i32,
    /// The longest pause.
    pause_seconds_max: i64,
}

/// An address that fails with whomever: a whole office may sit behind it.
const OF_ADDRESS: Patience = Patience { free: 20, pause_seconds_max: 900 };
/// An address that fails with one e-mail address.
const OF_STRANGER: Patience = Patience { free: 5, pause_seconds_max: 900 };
/// The same where somebody has logged in before.
const OF_KNOWN: Patience = Patience { free: 10, pause_seconds_max: 60 };

/// After so long without a failure all are forgotten.
pub fn forgotten_after() -> TimeDelta {
    days(1)
}

/// After so long without a login from there nobody is known there any more.
pub fn known_for() -> TimeDelta {
    days(90)
}

/// The names of an attempt's counters. An IPv6 client counts by its /64, which it can move about in.
pub fn attempt(client_address: &str, email: &Email) -> Attempt {
    let network = match client_address.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Ok(IpAddr::V4(_)) | Err(_) => client_address.to_owned(),
    };
    Attempt {
        address: secrets::hash_parts(&[b"address", network.as_bytes()]),
        pair: secrets::hash_parts(&[b"pair", network.as_bytes(), email.as_str().as_bytes()]),
    }
}

/// Until when an attempt has to wait, if it has.
pub fn waits_until(attempt: &Attempt, standing: Standing, counters: &[Counter], now: Timestamp) -> Option<Timestamp> {
    let judge = |counter: &Counter| {
        let patience = match standing {
            Standing::Known if counter.sha256 == attempt.pair => OF_KNOWN,
            Standing::Known => return None,
            Standing::Stranger if counter.sha256 == attempt.pair => OF_STRANGER,
            Standing::Stranger => OF_ADDRESS,
        };
        Some(counter.last_failed_at + pause(failures(counter, now), patience)?)
    };
    counters.iter().filter_map(judge).max().filter(|end| now < *end)
}

/// A wait in whole seconds, at least one.
pub fn whole_seconds(wait: TimeDelta) -> u32 {
    u32::try_from(wait.num_milliseconds().saturating_add(999) / 1_000).unwrap_or(u32::MAX).max(1)
}

/// How many failures count at `now`.
pub fn failures(counter: &Counter, now: Timestamp) -> i32 {
    if counter.last_failed_at + forgotten_after() <= now { 0 } else { counter.failures }
}

fn pause(failures: i32, patience: Patience) -> Option<TimeDelta> {
    let doublings = u32::try_from(failures - patience.free).ok()?;
    let seconds = FIRST_PAUSE_SECONDS.saturating_mul(2_i64.saturating_pow(doublings)).min(patience.pause_seconds_max);
    Some(TimeDelta::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        Email::parse(text).unwrap()
    }

    #[test]
    fn pauses_begin_after_some_failures_double_and_have_an_end() {
        let seconds = |failures, patience| pause(failures, patience).map_or(0, |pause| pause.num_seconds());

        assert_eq!([0, 4, 5, 6, 7, 9, 10, 100, i32::MAX].map(|n| seconds(n, OF_STRANGER)), [0, 0, 30, 60, 120, 480, 900, 900, 900]);
        assert_eq!([9, 10, 11, 12].map(|n| seconds(n, OF_KNOWN)), [0, 30, 60, 60]);
        assert_eq!([19, 20, 25].map(|n| seconds(n, OF_ADDRESS)), [0, 30, 900]);
    }

    #[test]
    fn a_stranger_is_judged_by_both_counters_and_who_is_known_by_his_own() {
        let attempt = attempt("10.0.0.1", &email("ana@example.com"));
        let now = Timestamp::from_timestamp(1_772_323_200, 0).unwrap();
        let counter = |sha256: [u8; 32], failures| Counter { sha256: sha256.to_vec(), failures, last_failed_at: now };
        let judge = |standing, address, pair| {
            let counters = [counter(attempt.address, address), counter(attempt.pair, pair)];
            waits_until(&attempt, standing, &counters, now).map_or(0, |end| (end - now).num_seconds())
        };

        assert_eq!((judge(Standing::Stranger, 19, 4), judge(Standing::Stranger, 21, 4), judge(Standing::Stranger, 19, 5)), (0, 60, 30));
        assert_eq!((judge(Standing::Known, 1_000, 9), judge(Standing::Known, 0, 1_000)), (0, 60));
        let later = |seconds| waits_until(&attempt, Standing::Stranger, &[counter(attempt.pair, 5)], now + TimeDelta::seconds(seconds));
        assert!(later(29).is_some() && later(30).is_none());
        assert_eq!(failures(&counter(attempt.pair, 7), now + forgotten_after()), 0);
    }

    #[test]
    fn an_attempt_is_named_by_its_network_and_its_spelling_does_not_count() {
        let name = |address, mail| attempt(address, &email(mail));

        assert_eq!(name("2001:db8:0:1::5", "ana@example.com"), name("2001:db8:0:1:ffff::9", "ANA@example.com"));
        assert_ne!(name("2001:db8:0:1::5", "ana@example.com").address, name("2001:db8:0:2::5", "ana@example.com").address);
        let (ana, ben) = (name("10.0.0.1", "ana@example.com"), name("10.0.0.1", "ben@example.com"));
        assert_eq!(ana.address, ben.address);
        assert_ne!(ana.pair, ben.pair);
    }
}
