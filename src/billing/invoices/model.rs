//! Invoices that staff withdrew.

use crate::billing::model::Invoice;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A withdrawn invoice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Withdrawn {
    /// The invoice now.
    #[serde(flatten)]
    pub invoice: Invoice,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
