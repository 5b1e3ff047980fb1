//! Credits that staff moved.

use crate::credits::model::Transaction;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An entry by staff's hand.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Moved {
    /// The ledger's row.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
