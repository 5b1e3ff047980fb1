//! A period with the reasons of its dates.

use crate::{
    ids::{InvoiceId, PaymentId},
    money::Money,
    subscriptions::model::PeriodKind,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

crate::words! {
    /// What gave a period its start.
    pub enum StartRule {
        /// Registration: from now, so many days (requirements B1).
        Trial = "B1",
        /// A payment with nothing paid running: from now (requirements B2).
        Activation = "B2",
        /// A payment that joins the period before (requirements B3).
        Renewal = "B3",
        /// Staff, or the import.
        ByHand = "by_hand",
        /// A payment was taken back, and what it had cut short went on.
        Reversal = "reversal",
    }
}

crate::words! {
    /// What gave a period its end.
    pub enum EndRule {
        /// Its own length.
        Length = "length",
        /// Another period, which was bought or set in its place.
        Replaced = "replaced",
        /// A cancellation.
        Cancelled = "cancelled",
        /// Its payment was taken back.
        Reversal = "reversal",
    }
}

/// A period as it is kept, with its neighbours' edges.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// 1, 2, 3 … within the account.
    pub period: i32,
    /// What started it.
    pub kind: PeriodKind,
    /// The plan's word.
    pub plan_slug: String,
    /// The plan's version.
    pub plan_version: i32,
    /// What was paid for it.
    pub price: Money,
    /// First instant.
    pub starts_at: DateTime<Utc>,
    /// First instant after.
    pub ends_at: DateTime<Utc>,
    /// The end as it was promised.
    pub planned_ends_at: DateTime<Utc>,
    /// End of the period before, where a gap lies between them.
    pub lapsed_from: Option<DateTime<Utc>>,
    /// When it was bought or set.
    pub created_at: DateTime<Utc>,
    /// When its payment was taken back.
    pub reversed_at: Option<DateTime<Utc>>,
    /// When the payment of the one before was taken back.
    pub before_reversed_at: Option<DateTime<Utc>>,
    /// When the next one was bought or set.
    pub next_created_at: Option<DateTime<Utc>>,
    /// What bought it.
    pub payment: Option<PaidBy>,
}

/// The payment behind a period, and its invoice.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PaidBy {
    /// The payment's number.
    pub payment_id: PaymentId,
    /// The bank's own reference of it.
    pub external_payment_id: String,
    /// The invoice that it paid.
    pub invoice_id: Option<InvoiceId>,
    /// That invoice's number for people.
    #[schema(example = "INV-29-202611-0001")]
    pub invoice_number: Option<String>,
}

/// Time in which nothing was paid for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Lapse {
    /// The end of the period before.
    pub from: DateTime<Utc>,
    /// The start of this one.
    pub until: DateTime<Utc>,
}

/// A period, and why it begins and ends when it does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explained {
    /// 1, 2, 3 … within the account.
    pub period: i32,
    /// The plan's word.
    pub plan_slug: String,
    /// The version of the plan that was bought.
    pub plan_version: i32,
    /// What was paid for it.
    pub price: Money,
    /// First instant.
    pub starts_at: DateTime<Utc>,
    /// The rule behind that.
    pub start_rule: StartRule,
    /// The same as a sentence.
    #[schema(example = "Payment BT-2 was confirmed at 2026-03-20T00:00:00Z; the period joins the one before (B3).")]
    pub starts_because: String,
    /// First instant after.
    pub ends_at: DateTime<Utc>,
    /// The rule behind that.
    pub end_rule: EndRule,
    /// The same as a sentence.
    #[schema(example = "30 days of 86,400 seconds after its start.")]
    pub ends_because: String,
    /// The payment behind it, and its invoice; null where nothing was paid.
    pub paid_by: Option<PaidBy>,
    /// The time before it in which nothing was paid for.
    pub lapse: Option<Lapse>,
}
