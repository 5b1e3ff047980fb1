//! Reports.

use crate::money::Money;
use chrono::NaiveDate;

/// What a customer says of a transfer that he made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The bank's reference, as his bank shows it.
    pub reference: String,
    /// How much.
    pub amount: Money,
    /// In which currency; unset: the invoice's.
    pub currency: Option<String>,
    /// Who paid.
    pub payer_name: String,
    /// The day of the transfer where he is.
    pub paid_on: NaiveDate,
    /// For the admin.
    pub note: Option<String>,
}
