//! Accounts as billing admins see them.

use crate::{
    accounts::model::AccountStatus,
    billing::model::{Invoice, Payment},
    clock::Timestamp,
    ids::AccountId,
    money::{Credits, Money},
    plans::model::Plan,
    subscriptions::model::Subscription,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// An account in the admins' list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Customer {
    /// Its number.
    pub id: AccountId,
    /// Its word.
    #[schema(example = "home-g8")]
    pub slug: String,
    /// Its name.
    pub name: String,
    /// How it stands at this instant, whether or not the scheduler has recorded it yet.
    pub status: AccountStatus,
    /// Its plan's word.
    pub plan: Option<String>,
    /// All its credits.
    pub credits: Credits,
    /// Its first owner's address.
    pub owner_email: Option<String>,
    /// Where its invoices go, where that is not its owner.
    pub billing_email: Option<String>,
    /// First instant after the present period.
    pub current_period_end: Option<DateTime<Utc>>,
    /// Its open invoice's number.
    pub open_invoice: Option<String>,
    /// Whether that invoice is past its date.
    pub is_overdue: bool,
    /// Whether it is staff's own.
    pub is_system: bool,
    /// When it was deleted; such an account can still come back until it is purged.
    pub deleted_at: Option<DateTime<Utc>>,
    /// When it came about.
    pub created_at: DateTime<Utc>,
}

/// All that a billing admin needs to know of one account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CustomerFile {
    /// As in the list.
    #[serde(flatten)]
    pub customer: Customer,
    /// What it may use.
    pub plan_details: Option<Plan>,
    /// What it has paid for, as it stands now.
    pub subscription: Option<Subscription>,
    /// What it owes.
    pub invoice: Option<Invoice>,
    /// What of that is past its date; null where nothing is.
    pub overdue: Option<Overdue>,
    /// What it has, by pool.
    pub balances: Balances,
    /// Its last payments, newest first.
    pub payments: Vec<Payment>,
    /// Live sites.
    pub sites: i64,
    /// Live users.
    pub users: i64,
}

/// What is past its date.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Overdue {
    /// The invoice.
    pub invoice_number: String,
    /// How much of it.
    pub outstanding: Money,
    /// In which currency.
    pub currency: String,
    /// Since when.
    pub due_at: DateTime<Utc>,
    /// Whole days since then.
    pub days: i64,
}

/// What an account has.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Balances {
    /// Credits of the period.
    pub plan_credits: Credits,
    /// Credits that outlast it.
    pub extra_credits: Credits,
    /// Money kept with us that no paid invoice has taken.
    pub money: Money,
}

/// What an admin looks for.
#[derive(Clone, Debug, Default)]
pub struct CustomerFilter {
    /// What was typed.
    pub search: Option<Search>,
    /// Only accounts that stand so now.
    pub status: Option<AccountStatus>,
    /// Only with this plan, by its word.
    pub plan: Option<String>,
}

/// What was typed, as each column is compared with it. A range is from the text itself to the last text that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The account with this number.
    pub id: Option<i64>,
    /// Slugs and e-mail addresses, which are in lower case.
    pub lower: (String, String),
    /// Invoice numbers, which are in upper case.
    pub upper: (String, String),
    /// Payment references, mended where what was typed is a whole one.
    pub reference: (String, String),
    /// The bank's references, as typed.
    pub typed: (String, String),
    /// Words of names, as Postgres reads a text search; none where nothing of it is a word.
    pub words: Option<String>,
}

/// The instants that decide how accounts stand.
#[derive(Clone, Copy, Debug)]
pub struct Instants {
    /// Now.
    pub now: Timestamp,
    /// A paid period that ended before this has no grace left.
    pub grace_began: Timestamp,
}
