//! The balance and what moves it.

use crate::{
    ids::{InvoiceId, PaymentId},
    money::Money,
};

/// An account's money at one point of its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is there, in the currency of invoices.
    pub balance: Money,
    /// Number of the newest entry.
    pub last_seq: i64,
}

/// What moves it. Each can be undone by the same in the other direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A transfer came.
    Payment(PaymentId),
    /// An invoice took what it asks for.
    Settlement(InvoiceId),
    /// An admin let go what an invoice lacked.
    Waiver(InvoiceId),
}

impl Cause {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Payment(_) => "payment",
            Cause::Settlement(_) => "settlement",
            Cause::Waiver(_) => "waiver",
        }
    }

    /// Of payments.
    pub fn payment(self) -> Option<PaymentId> {
        match self {
            Cause::Payment(payment) => Some(payment),
            Cause::Settlement(_) | Cause::Waiver(_) => None,
        }
    }

    /// Of settlements and waivers.
    pub fn invoice(self) -> Option<InvoiceId> {
        match self {
            Cause::Settlement(invoice) | Cause::Waiver(invoice) => Some(invoice),
            Cause::Payment(_) => None,
        }
    }
}

/// Whether the balance grows or shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It grows.
    In,
    /// It shrinks.
    Out,
}
