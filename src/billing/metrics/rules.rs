//! Months, sums and rates. No I/O.

use super::model::{Cohort, Metrics, Month, Overdue, Paying, Span};
use crate::{billing::model::CURRENCY, clock::Timestamp};
use chrono::{Datelike as _, Months, NaiveTime, TimeDelta};
use rust_decimal::{Decimal, RoundingStrategy};

/// Months in a year, by which its price is divided.
const MONTHS_OF_YEAR: Decimal = Decimal::from_parts(12, 0, 0, false, 0);
/// Months that can be asked for, at the most.
pub const MONTHS_MAX: u32 = 60;

/// The month of `now` and those before it, the oldest first.
pub fn spans(count: u32, now: Timestamp) -> Vec<Span> {
    let first = now.date_naive().with_day(1).unwrap_or(now.date_naive()).and_time(NaiveTime::MIN).and_utc();
    let back = |months: u32| first.checked_sub_months(Months::new(months)).unwrap_or(first);
    let span = |months: u32| {
        let starts_at = back(months);
        let ends_at = starts_at.checked_add_months(Months::new(1)).unwrap_or(starts_at);
        Span { label: starts_at.format("%Y-%m").to_string(), starts_at, ends_at, as_of: now.min(ends_at - TimeDelta::microseconds(1)) }
    };
    (0..count).rev().map(span).collect()
}

/// What is told of the months, each list with one for each of them, and `paying` with one more in front.
pub fn metrics(spans: &[Span], paying: &[Paying], cash_in: &[Decimal], trials: Vec<Cohort>, overdue: Overdue, now: Timestamp) -> Metrics {
    let pairs = paying.iter().zip(paying.iter().skip(1));
    let months = spans.iter().zip(pairs).zip(cash_in.iter().zip(trials)).map(|((span, (before, paying)), (cash_in, trials))| {
        let mrr = mrr(paying);
        Month {
            month: span.label.clone(),
            mrr,
            paying_accounts: paying.accounts,
            arpa: share(mrr, paying.accounts, 2),
            new_accounts: paying.gained - paying.returned,
            returned_accounts: paying.returned,
            lost_accounts: before.accounts - (paying.accounts - paying.gained),
            cash_in: rounded(*cash_in, 2),
            trials: Cohort { conversion_rate: share(Decimal::from(trials.converted), trials.signups, 4), ..trials },
        }
    });
    let overdue = Overdue { amount: rounded(overdue.amount, 2), ..overdue };
    Metrics { currency: CURRENCY.to_owned(), as_of: now, months: months.collect(), overdue }
}

/// What a month costs those who pay. Divided and rounded once, so that no cent of anybody is lost.
fn mrr(paying: &Paying) -> Decimal {
    rounded(paying.by_month + paying.by_year / MONTHS_OF_YEAR, 2)
}

/// A whole by how many share it; none where nobody does.
fn share(whole: Decimal, count: i64, places: u32) -> Option<Decimal> {
    whole.checked_div(Decimal::from(count)).map(|share| rounded(share, places))
}

/// With so many places, half a cent up.
fn rounded(amount: Decimal, places: u32) -> Decimal {
    let mut rounded = amount.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(places);
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn paying(by_month: &str, by_year: &str, accounts: i64, gained: i64, returned: i64) -> Paying {
        Paying { by_month: by_month.parse().unwrap(), by_year: by_year.parse().unwrap(), accounts, gained, returned }
    }

    #[test]
    fn months_end_a_microsecond_before_the_next_and_the_last_one_is_now() {
        let now = at("2026-03-31T23:30:00Z");

        let spans = spans(4, now);

        let labels = spans.iter().map(|span| span.label.as_str()).collect::<Vec<_>>();
        assert_eq!(labels, ["2025-12", "2026-01", "2026-02", "2026-03"]);
        assert_eq!((spans[2].as_of, spans[3].as_of), (at("2026-02-28T23:59:59.999999Z"), now));
        assert!(spans.windows(2).all(|pair| pair[0].ends_at == pair[1].starts_at));
        assert_eq!(super::spans(1, at("2028-02-29T00:00:00Z"))[0].starts_at, at("2028-02-01T00:00:00Z"));
    }

    #[test]
    fn a_years_price_is_divided_once_in_the_sum_and_half_a_cent_goes_up() {
        assert_eq!(mrr(&paying("89.00", "0", 1, 0, 0)).to_string(), "89.00");
        assert_eq!(mrr(&paying("0", "1000.00", 1, 0, 0)).to_string(), "83.33");
        assert_eq!(mrr(&paying("0", "3000.00", 3, 0, 0)).to_string(), "250.00", "and not three times 83.33");
        assert_eq!(mrr(&paying("0.10", "0.06", 1, 0, 0)).to_string(), "0.11", "0.105");
    }

    #[test]
    fn who_is_lost_paid_before_and_is_not_among_those_who_stayed() {
        let now = at("2026-03-10T00:00:00Z");
        let spans = spans(2, now);
        let all = [paying("89", "0", 1, 1, 0), paying("89", "1200", 2, 2, 1), paying("0", "0", 0, 0, 0)];
        let cohort = Cohort { signups: 3, converted: 1, ..Cohort::default() };

        let told = metrics(&spans, &all, &["-5".parse().unwrap(), Decimal::ZERO], vec![cohort, Cohort::default()], Overdue::default(), now);

        let [first, second] = &told.months[..] else { panic!("{told:?}") };
        assert_eq!((first.new_accounts, first.returned_accounts, first.lost_accounts), (1, 1, 1));
        assert_eq!((first.mrr.to_string(), first.arpa.map(|arpa| arpa.to_string())), ("189.00".to_owned(), Some("94.50".to_owned())));
        assert_eq!(
            (first.cash_in.to_string(), first.trials.conversion_rate.unwrap().to_string()),
            ("-5.00".to_owned(), "0.3333".to_owned())
        );
        assert_eq!((second.lost_accounts, second.arpa, second.trials.conversion_rate), (2, None, None));
    }
}
