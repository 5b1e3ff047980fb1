//! What a reversal answers.

use crate::{
    accounts::model::AccountStatus,
    billing::model::{Invoice, Payment},
    credits::model::TakenBack,
    ids::AccountId,
    subscriptions::model::Subscription,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a reversal did, before and after.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reversal {
    /// Whose transfer it was.
    pub account_id: AccountId,
    /// How the account stands now.
    pub status: AccountStatus,
    /// The subscription now.
    pub subscription: Option<Subscription>,
    /// The payment now.
    pub payment: Payment,
    /// The invoice now: open again, or void where another one is open.
    pub invoice: Invoice,
    /// What became of the credits; null where the transfer had bought no time.
    pub credits: Option<TakenBack>,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether this transfer was taken back before, and nothing happened now.
    pub already_reversed: bool,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
