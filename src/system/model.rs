//! What the server says of itself and of what it keeps.

use crate::{accounts::model::AccountStatus, clock::Timestamp, ids::AccountId, money::Money, period::BillingCycle};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

crate::words! {
    /// The ten laws of money. Each is one query that returns no row when all is well.
    pub enum Law {
        /// The balance is the sum of the ledger's amounts, in each pool.
        I1 = "I1",
        /// The account's sequence has no gap, and each row's balance is the one before plus the amount.
        I2 = "I2",
        /// Neither balance nor what is available is ever negative.
        I3 = "I3",
        /// One row per account and idempotency key.
        I4 = "I4",
        /// One grant per account and period.
        I5 = "I5",
        /// Periods don't overlap, and don't gap without a recorded lapse.
        I6 = "I6",
        /// A confirmed payment has exactly one period and one grant, and a grant has its source.
        I7 = "I7",
        /// Every account has an owner, a plan, a first subscription and a first ledger row.
        I8 = "I8",
        /// A child's account is its parent's.
        I9 = "I9",
        /// Every privileged change has exactly one audit row.
        I10 = "I10",
    }
}

impl Law {
    /// The law in a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Law::I1 => "the balance is the sum of the ledger's amounts, per pool",
            Law::I2 => "the ledger's sequence has no gap, and each balance is the one before plus the amount",
            Law::I3 => "balance and available credits are never negative",
            Law::I4 => "one row per account and idempotency key",
            Law::I5 => "one grant per account and period",
            Law::I6 => "periods don't overlap, and don't gap without a recorded lapse",
            Law::I7 => "a confirmed payment has exactly one period and one grant, and a grant has its source",
            Law::I8 => "every account has an owner, a plan, a first subscription and a first ledger row",
            Law::I9 => "a child's account is its parent's",
            Law::I10 => "every privileged change has exactly one audit row",
        }
    }
}

/// A row that breaks a law, as its query tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is; none where the row belongs to nobody.
    pub account: Option<AccountId>,
    /// What is wrong, with its numbers.
    pub detail: String,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This law's query runs now.
    Asking(Law),
    /// The ledger's seals are made again.
    Unsealing {
        /// Entries done.
        done: u64,
        /// Entries that are sealed.
        total: u64,
    },
}

/// A law that is broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which law.
    pub law: Law,
    /// Whose account; none where the row belongs to nobody.
    pub account: Option<AccountId>,
    /// What is wrong, with its numbers.
    pub detail: String,
}

/// What is stored, at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Every plan, cheapest first.
    pub plans: Vec<PlanState>,
    /// The first accounts by number; `counts` tells how many there are.
    pub accounts: Vec<AccountState>,
    /// How much there is of each kind.
    pub counts: Counts,
    /// What breaks a law.
    pub violations: Vec<Violation>,
}

/// A plan and how many use it.
#[derive(Clone, Debug, Serialize)]
pub struct PlanState {
    /// Its word.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// US dollars per cycle.
    pub price: Money,
    /// Monthly or annual.
    pub billing_cycle: BillingCycle,
    /// The effective figure.
    pub credits_per_month: i64,
    /// Whether it admits anybody.
    pub is_active: bool,
    /// Living accounts that have it.
    pub accounts: i64,
}

/// An account in one line. Its recorded status: what it may do now also depends on its period's end.
#[derive(Clone, Debug, Serialize)]
pub struct AccountState {
    /// Its number.
    pub id: AccountId,
    /// Its word.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its plan's word.
    pub plan: Option<String>,
    /// Both pools together.
    pub credits: i64,
    /// As it was last recorded.
    pub status: AccountStatus,
    /// End of its present period.
    pub period_ends_at: Option<DateTime<Utc>>,
}

/// How many rows there are; living ones where rows can be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Tenants and system accounts.
    pub accounts: i64,
    /// People.
    pub users: i64,
    /// Sites.
    pub sites: i64,
    /// Rows of the ledger.
    pub credit_transactions: i64,
    /// Invoices, of any status.
    pub invoices: i64,
    /// Payments, of any status.
    pub payments: i64,
    /// Rows of the audit log.
    pub audit_rows: i64,
}

/// The process and its build.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: who can't answer doesn't.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// The version in Cargo.toml.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// The full git commit, or `unknown`.
    #[schema(example = "4b825dc642cb6eb9a060e54bf8d69288fbee4904")]
    pub commit: &'static str,
    /// Whether the sources differed from the commit.
    pub dirty: bool,
    /// When it was built.
    #[schema(format = DateTime, example = "2026-03-01T12:00:00Z")]
    pub built_at: &'static str,
}

/// That requests may be sent here.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Always `ready`; a server that isn't answers 503.
    #[schema(example = "ready")]
    pub status: &'static str,
}

crate::words! {
    /// Whether the database answers.
    pub enum Reachability {
        /// It does, in time.
        Ok = "ok",
        /// It does not.
        Unavailable = "unavailable",
    }
}

/// What present clients ask for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Status {
    /// `ok`, or `degraded` while the database is away.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// The version in Cargo.toml.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// The server's time.
    pub time: DateTime<Utc>,
    /// Whether the database answers.
    pub database: Reachability,
}

/// How the laws stood when they were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyRuns {
    /// When they were last asked and all held.
    pub last_clean: Option<Timestamp>,
    /// What the last asking found; none when it never came to an end.
    pub violations: Option<i32>,
}
