//! Which days are meant, what their sums are, how long credits last. No I/O.

use super::model::{Burndown, DayUsage, Days, OperationUsage, Pace, UsageRow, UsageSummary};
use crate::{clock::Timestamp, credits::model::Operation, money::Credits};
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use rust_decimal::{Decimal, RoundingStrategy};

/// Days that one request may ask for at the most.
pub const DAYS_MAX: i64 = 366;
/// Days when nothing is asked, today included.
const DAYS_DEFAULT: i64 = 30;
/// Credits that last longer than this are said to last for ever.
const FORESEEN_DAYS_MAX: i64 = 3_653;
/// Entries of one account follow time, but for requests that arrived together: by less than this. `igny8 verify` asks it (I2).
pub const DISORDER_MAX: TimeDelta = TimeDelta::seconds(60);

/// Why a stretch of days can't be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaysFault {
    /// It ends before it begins.
    Backwards,
    /// It has more than [`DAYS_MAX`] days.
    TooMany,
}

impl Days {
    /// From one day to another, both included; what is left out ends today, and begins thirty days earlier.
    pub fn between(from: Option<NaiveDate>, to: Option<NaiveDate>, now: Timestamp) -> Result<Self, DaysFault> {
        let to = to.unwrap_or(now.date_naive());
        let from = from.unwrap_or(to - TimeDelta::days(DAYS_DEFAULT - 1));
        match (to - from).num_days() + 1 {
            ..=0 => Err(DaysFault::Backwards),
            1..=DAYS_MAX => Ok(Days { from, to }),
            _ => Err(DaysFault::TooMany),
        }
    }

    /// The first instant inside.
    pub fn starts_at(self) -> Timestamp {
        self.from.and_time(NaiveTime::MIN).and_utc()
    }

    /// The first instant after.
    pub fn ends_at(self) -> Timestamp {
        self.to.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1)
    }

    fn each(self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |day| *day <= self.to)
    }
}

/// The sums of rows, with a row for every day and operation.
pub fn summary(days: Days, rows: &[UsageRow], refunded: Credits) -> UsageSummary {
    let sums = |of: &dyn Fn(&UsageRow) -> bool| {
        let rows = rows.iter().filter(|row| of(row));
        rows.fold((0, 0, Credits::ZERO), |(runs, quantity, credits), row| {
            (runs + row.runs, quantity + row.quantity, credits.plus(row.credits).unwrap_or(Credits::MAX))
        })
    };
    let by_operation = Operation::ALL.iter().map(|operation| {
        let (runs, quantity, credits) = sums(&|row| row.operation == *operation);
        OperationUsage { operation: *operation, runs, quantity, credits }
    });
    let by_day = days.each().map(|day| {
        let (runs, _, credits) = sums(&|row| row.day == day);
        DayUsage { day, runs, credits }
    });
    let (by_operation, by_day) = (by_operation.collect(), by_day.collect());
    let (runs, _, credits) = sums(&|_| true);
    UsageSummary { from: days.from, to: days.to, runs, credits, refunded, by_operation, by_day }
}

/// How long the available credits last at the pace of the last days.
pub fn burndown(asked_days: i64, pace: Pace, available: Credits, resets_at: Option<Timestamp>, now: Timestamp) -> Burndown {
    // A day begun is a day: an account of this morning has spent for one day.
    let lived_days = pace.began_at.map_or(1, |began_at| (now - began_at).num_days() + 1);
    let days = asked_days.min(lived_days).max(1);
    let average = Decimal::from(pace.spent.get()) / Decimal::from(days);
    let lasts = i128::from(available.get())
        .checked_mul(i128::from(days) * 86_400)
        .and_then(|seconds| seconds.checked_div(i128::from(pace.spent.get())))
        .and_then(|seconds| i64::try_from(seconds).ok())
        .filter(|seconds| *seconds <= FORESEEN_DAYS_MAX * 86_400);
    let empty_at = match (available == Credits::ZERO, lasts) {
        (true, _) => Some(now),
        (false, lasts) => lasts.map(|seconds| now + TimeDelta::seconds(seconds)),
    };
    let mut average_per_day = average.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    average_per_day.rescale(2);
    Burndown {
        days,
        spent: pace.spent,
        average_per_day,
        available,
        runs_out_on: empty_at.map(|at| at.date_naive()),
        resets_at,
        lasts_until_reset: resets_at.map(|resets_at| empty_at.is_none_or(|empty_at| resets_at <= empty_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn credits(count: i64) -> Credits {
        Credits::new(count).unwrap()
    }

    #[test]
    fn days_are_those_of_utc_with_both_ends_and_at_most_a_year() {
        let now = at("2026-03-01T23:59:59.999999Z");
        let day = |text: &str| Some(text.parse::<NaiveDate>().unwrap());
        let usual = Days::between(None, None, now).unwrap();
        assert_eq!((usual.from.to_string(), usual.to.to_string()), ("2026-01-31".to_owned(), "2026-03-01".to_owned()));
        assert_eq!((usual.starts_at(), usual.ends_at()), (at("2026-01-31T00:00:00Z"), at("2026-03-02T00:00:00Z")));
        assert_eq!(Days::between(day("2026-03-02"), day("2026-03-01"), now), Err(DaysFault::Backwards));
        assert_eq!(Days::between(day("2025-03-01"), day("2026-03-02"), now), Err(DaysFault::TooMany));
        assert!(Days::between(day("2025-03-02"), day("2026-03-02"), now).is_ok());
    }

    #[test]
    fn credits_last_as_long_as_the_pace_says_and_the_reset_may_come_first() {
        let now = at("2026-03-11T12:00:00Z");
        let told = |spent: i64, available: i64, resets_at: &str| {
            let pace = Pace { spent: credits(spent), began_at: Some(at("2026-03-01T12:00:00Z")) };
            burndown(5, pace, credits(available), Some(at(resets_at)), now)
        };
        let slow = told(50, 55, "2026-03-15T00:00:00Z");
        assert_eq!((slow.days, slow.average_per_day.to_string()), (5, "10.00".to_owned()));
        // Five and a half days.
        assert_eq!((slow.runs_out_on, slow.lasts_until_reset), ("2026-03-17".parse().ok(), Some(true)));
        assert_eq!(told(50, 55, "2026-03-17T00:00:00Z").lasts_until_reset, Some(true), "to the very second");
        assert_eq!(told(50, 55, "2026-03-17T00:00:01Z").lasts_until_reset, Some(false));
        assert_eq!(
            (told(0, 55, "2026-03-15T00:00:00Z").runs_out_on, told(1, 0, "2026-03-15T00:00:00Z").runs_out_on),
            (None, Some(now.date_naive()))
        );
    }

    #[test]
    fn a_young_accounts_pace_is_that_of_its_life() {
        let now = at("2026-03-02T06:00:00Z");
        let pace = Pace { spent: credits(7), began_at: Some(at("2026-03-01T00:00:00Z")) };

        let told = burndown(30, pace, credits(1_000), None, now);

        assert_eq!((told.days, told.average_per_day.to_string(), told.lasts_until_reset), (2, "3.50".to_owned(), None));
    }
}
