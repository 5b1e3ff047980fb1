//! Figures by month.

use crate::clock::Timestamp;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// How the business does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Metrics {
    /// Of all amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// The instant that all of it is told of.
    pub as_of: DateTime<Utc>,
    /// The oldest first; the last one is not over.
    pub months: Vec<Month>,
    /// Invoices that should have been paid by now.
    pub overdue: Overdue,
}

/// One month.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Month {
    /// Which.
    #[schema(example = "2026-11")]
    pub month: String,
    /// What a month costs those who pay at its end.
    #[schema(value_type = String, example = "267.00")]
    pub mrr: Decimal,
    /// How many those are.
    pub paying_accounts: i64,
    /// MRR by account; null where nobody pays.
    #[schema(value_type = Option<String>, example = "89.00")]
    pub arpa: Option<Decimal>,
    /// Who pays at its end for the first time.
    pub new_accounts: i64,
    /// Who pays again, and did not at the end of the month before.
    pub returned_accounts: i64,
    /// Who paid at the end of the month before and does no more.
    pub lost_accounts: i64,
    /// What was confirmed, less what was taken back.
    #[schema(value_type = String, example = "178.00")]
    pub cash_in: Decimal,
    /// Who signed up in it, and what became of them until now.
    pub trials: Cohort,
}

/// Accounts that signed up in one month.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Cohort {
    /// How many.
    pub signups: i64,
    /// How many of them have ever paid.
    pub converted: i64,
    /// How many of those before their trial was over.
    pub converted_in_trial: i64,
    /// `converted` by `signups`, four places; null where nobody signed up.
    #[schema(value_type = Option<String>, example = "0.2500")]
    pub conversion_rate: Option<Decimal>,
}

/// What should have been paid by now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Overdue {
    /// How many invoices.
    pub invoices: i64,
    /// What of them is still to come.
    #[schema(value_type = String, example = "89.00")]
    pub amount: Decimal,
}

/// A month as it is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `2026-11`.
    pub label: String,
    /// From this instant on.
    pub starts_at: Timestamp,
    /// Up to this one, which is the next month's first.
    pub ends_at: Timestamp,
    /// Its last instant, or now where that is to come.
    pub as_of: Timestamp,
}

/// Who pays at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paying {
    /// What those pay who pay by the month.
    pub by_month: Decimal,
    /// What those pay who pay by the year.
    pub by_year: Decimal,
    /// How many accounts.
    pub accounts: i64,
    /// How many of them did not pay at the instant before …
    pub gained: i64,
    /// … and how many of those had paid at some time before that.
    pub returned: i64,
}
