//! What stands on a paper.

use crate::clock::Timestamp;
use serde_json::Value;

/// Who sells: from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seller {
    /// Its name.
    pub name: String,
    /// Its address, a line each.
    pub address: Vec<String>,
    /// Its tax number, where it has one.
    pub tax_id: Option<String>,
}

/// Who buys: as the account stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct Buyer {
    /// Its name.
    pub name: String,
    /// Its billing address, as the customer wrote it.
    pub address: Value,
    /// Where its invoices go.
    pub email: Option<String>,
}

/// What is stamped on a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// All has come.
    Paid,
    /// Withdrawn.
    Void,
}

impl Stamp {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Stamp::Paid => "PAID",
            Stamp::Void => "VOID",
        }
    }
}

/// Everything that stands on a paper, in the order in which it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Its number, which also names the file.
    pub number: String,
    /// "Invoice" or "Receipt".
    pub title: &'static str,
    /// At its head.
    pub stamp: Option<Stamp>,
    /// Who sells, a line each.
    pub seller: Vec<String>,
    /// Who buys, a line each.
    pub buyer: Vec<String>,
    /// Dates and numbers: label, value.
    pub facts: Vec<(String, String)>,
    /// What is sold: text, amount.
    pub line: (String, String),
    /// Sums: label, amount.
    pub sums: Vec<(&'static str, String)>,
    /// How to pay: label, value; nothing once there is nothing to pay.
    pub bank: Vec<(String, String)>,
    /// What a banking app scans, where the currency has such a code.
    pub qr: Option<String>,
    /// When the invoice was written; the paper bears no other time of its own.
    pub written_at: Timestamp,
}
