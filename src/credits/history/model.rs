//! Days, use, pace.

use crate::{credits::model::Operation, money::Credits};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// Days of UTC, the first and the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
}

/// What was done with one operation on one day.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UsageRow {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// What was done.
    pub operation: Operation,
    /// How often.
    pub runs: i64,
    /// How many runs, ideas, words or images.
    pub quantity: i64,
    /// Credits deducted.
    pub credits: Credits,
}

/// Use per day and operation, oldest day first. Days without use have no row.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// One for each day and operation.
    pub rows: Vec<UsageRow>,
}

/// The use of one operation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OperationUsage {
    /// What was done.
    pub operation: Operation,
    /// How often.
    pub runs: i64,
    /// How many runs, ideas, words or images.
    pub quantity: i64,
    /// Credits deducted.
    pub credits: Credits,
}

/// The use of one day.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DayUsage {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// How many deductions.
    pub runs: i64,
    /// Credits deducted.
    pub credits: Credits,
}

/// Use in sums. Every operation and every day has its row, also where nothing was done.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UsageSummary {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// How many deductions.
    pub runs: i64,
    /// Credits deducted.
    pub credits: Credits,
    /// Credits given back in these days, whenever they were deducted.
    pub refunded: Credits,
    /// One for each operation.
    pub by_operation: Vec<OperationUsage>,
    /// One for each day, oldest first.
    pub by_day: Vec<DayUsage>,
}

/// How fast credits go, and how long they last at that pace.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Burndown {
    /// Days that the average is taken over: those asked for, or the account's whole life where that is shorter.
    pub days: i64,
    /// Credits deducted in them.
    pub spent: Credits,
    /// Credits a day, with two decimal places.
    #[schema(value_type = String, example = "12.50")]
    pub average_per_day: Decimal,
    /// Credits that can be spent now.
    pub available: Credits,
    /// The day, in UTC, on which they are gone at that pace, if nothing is added; null when they last for ten years.
    pub runs_out_on: Option<NaiveDate>,
    /// When the period ends.
    pub resets_at: Option<DateTime<Utc>>,
    /// Whether they last until then; null where there is no period.
    pub lasts_until_reset: Option<bool>,
}

/// What is known of an account's spending.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Credits deducted in the days asked for.
    pub spent: Credits,
    /// When its first entry was made.
    pub began_at: Option<DateTime<Utc>>,
}

/// What an account had at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PastBalance {
    /// The instant.
    pub as_of: DateTime<Utc>,
    /// Both pools together.
    pub credits: Credits,
    /// Plan credits.
    pub plan_credits: Credits,
    /// Extra credits.
    pub extra_credits: Credits,
    /// The newest entry that was made by then; null before the first.
    pub transaction: Option<i64>,
}
