//! Grants, resets, and what became of credits.

use crate::{
    credits::model::{Operation, TransactionKind},
    money::Credits,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A period's grant, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PlanGrant {
    /// The grant's entry.
    pub transaction: i64,
    /// The number of its period.
    pub period: i32,
    /// Credits granted.
    pub granted: Credits,
    /// When.
    pub granted_at: DateTime<Utc>,
    /// For people.
    pub description: String,
    /// What it paid for: deductions from the plan pool until the next reset.
    pub paid_for: Vec<PaidFor>,
    /// Credits that refunds and staff brought into the plan pool, less what staff took out of it.
    pub corrected: Credits,
    /// How it ended; null while it runs, or where nothing was left.
    pub reset: Option<Reset>,
    /// Credits of the plan pool that are left of it now; zero for all but the newest.
    pub left: Credits,
}

/// What a grant paid for one operation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PaidFor {
    /// What was done.
    pub operation: Operation,
    /// How often.
    pub runs: i64,
    /// Credits that this grant paid; where it did not suffice, extra credits paid the rest.
    pub credits: Credits,
}

/// How a period's credits ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reset {
    /// The expiry's entry.
    pub transaction: i64,
    /// Credits that expired.
    pub expired: Credits,
    /// When.
    pub at: DateTime<Utc>,
    /// The period that began then.
    pub next_period: Option<i32>,
    /// For people.
    pub description: String,
}

/// Extra credits that somebody was given, and what became of them.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ExtraGrant {
    /// Its entry.
    pub transaction: i64,
    /// Bought, given or given back.
    #[serde(rename = "type")]
    pub kind: TransactionKind,
    /// Extra credits given.
    pub given: Credits,
    /// When.
    pub given_at: DateTime<Utc>,
    /// When what is left of it is gone.
    pub expires_at: Option<DateTime<Utc>>,
    /// For people.
    pub description: String,
    /// Credits of it that paid for something. Those that expire first are spent first; of those that don't, the oldest first.
    pub spent: Credits,
    /// Credits of it that expired.
    pub expired: Credits,
    /// Credits of it that are left now.
    pub left: Credits,
}

/// How today's balance came about.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// Both pools together.
    pub credits: Credits,
    /// Plan credits.
    pub plan_credits: Credits,
    /// Extra credits.
    pub extra_credits: Credits,
    /// The newest grants of periods, newest first.
    pub plan_grants: Vec<PlanGrant>,
    /// Extra credits given, newest first; at most the newest hundred.
    pub extra_grants: Vec<ExtraGrant>,
    /// Send it as `before_period` for the periods before these; null where there are none.
    pub next_before_period: Option<i32>,
}

/// A grant of a period with what ended it.
#[derive(Debug)]
pub struct GrantRow {
    /// The grant's entry.
    pub seq: i64,
    /// Its period.
    pub period: i32,
    /// Credits.
    pub granted: Credits,
    /// When.
    pub granted_at: DateTime<Utc>,
    /// For people.
    pub description: String,
    /// The first entry that is no longer of it: its expiry, or the next grant; none while it runs.
    pub end_seq: Option<i64>,
    /// Its expiry, where something was left.
    pub reset: Option<Reset>,
}

/// What moved the plan pool while a grant ran, by operation; without one for what refunds and staff moved.
#[derive(Debug)]
pub struct PlanMove {
    /// The grant's entry.
    pub grant_seq: i64,
    /// What was done; none for corrections.
    pub operation: Option<Operation>,
    /// How often.
    pub runs: i64,
    /// Signed sum.
    pub amount: Credits,
}

/// Extra credits that somebody was given, before it is known what became of them.
#[derive(Debug)]
pub struct ExtraRow {
    /// Its entry.
    pub seq: i64,
    /// Bought, given or given back.
    pub kind: TransactionKind,
    /// Credits.
    pub given: Credits,
    /// When.
    pub given_at: DateTime<Utc>,
    /// For people.
    pub description: String,
    /// When what is left of it is gone.
    pub expires_at: Option<DateTime<Utc>>,
    /// Credits of it that expired, as far as it is written down.
    pub expired: Credits,
    /// Credits without end that were given up to this entry, it included.
    pub kept_so_far: Credits,
}
