//! What a report may say. No I/O.

use super::model::Report;
use crate::{billing::model::Invoice, clock::Timestamp, money::Money};
use chrono::TimeDelta;
use rust_decimal::Decimal;

/// Reports of one account that wait for an admin, at the most.
pub const PENDING_MAX: i64 = 20;
/// A report of more than so many times what the invoice asks for is a typing error.
const TIMES_THE_INVOICE_MAX: Decimal = Decimal::TEN;
/// A transfer made longer ago than this is not reported any more.
const AGE_DAYS_MAX: i64 = 366;
/// Where the day begins first it is 14 hours later than in UTC.
const EARLIEST_ZONE: TimeDelta = TimeDelta::hours(14);

/// What is wrong with a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportFault {
    /// Nothing was paid.
    NoAmount,
    /// More than anybody owes.
    AbsurdAmount,
    /// Another currency than the invoice's, which this is.
    Currency(String),
    /// A day that has not begun anywhere.
    InFuture,
    /// Too long ago.
    TooOld,
}

/// Everything that is wrong with a report, at once.
pub fn faults(report: &Report, invoice: &Invoice, now: Timestamp) -> Vec<ReportFault> {
    let mut faults = Vec::new();
    let amount_max = invoice.amount.decimal().checked_mul(TIMES_THE_INVOICE_MAX).unwrap_or(Decimal::MAX);
    if report.amount == Money::ZERO {
        faults.push(ReportFault::NoAmount);
    } else if report.amount.decimal() > amount_max {
        faults.push(ReportFault::AbsurdAmount);
    }
    if report.currency.as_ref().is_some_and(|currency| !currency.eq_ignore_ascii_case(&invoice.currency)) {
        faults.push(ReportFault::Currency(invoice.currency.clone()));
    }
    if report.paid_on > (now + EARLIEST_ZONE).date_naive() {
        faults.push(ReportFault::InFuture);
    } else if report.paid_on < (now - TimeDelta::days(AGE_DAYS_MAX)).date_naive() {
        faults.push(ReportFault::TooOld);
    }
    faults
}
