//! Payments as the billing admin sees them.

use crate::{
    billing::model::{Payment, PaymentStatus},
    ids::AccountId,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A payment as the billing admin sees it: whose it is, and what it is for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct QueuedPayment {
    /// Whose it is.
    pub account_id: AccountId,
    /// The account's word.
    pub account_slug: String,
    /// The invoice that it pays.
    pub invoice_number: Option<String>,
    /// What the customer was to write on the transfer.
    pub invoice_reference: Option<String>,
    /// What the customer, or an admin, noted.
    pub note: String,
    /// What clients see.
    #[serde(flatten)]
    pub payment: Payment,
}

/// Which payments the admins' list shows.
#[derive(Clone, Debug, Default)]
pub struct QueueFilter {
    /// Only of this status.
    pub status: Option<PaymentStatus>,
    /// Only with this reference, the bank's …
    pub reference: Option<String>,
    /// … or ours, as it stands on the invoice.
    pub invoice_reference: Option<String>,
}

/// A report that an admin rejected.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RejectedPayment {
    /// The payment now.
    #[serde(flatten)]
    pub payment: Payment,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
