//! A trial that was made longer.

use crate::{accounts::model::AccountStatus, ids::AccountId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What an extension did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrialExtension {
    /// Whose trial.
    pub account_id: AccountId,
    /// How the account stands.
    pub status: AccountStatus,
    /// When the trial ends now.
    pub ends_at: DateTime<Utc>,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
