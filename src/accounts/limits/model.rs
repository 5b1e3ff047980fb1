//! Limits of an account's own.

use crate::ids::AccountId;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A factor that takes the place of the plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OwnFactor {
    /// Times the scope's requests a minute (contract, section 7); null: the plan's factor.
    pub factor: Option<i32>,
    /// Until when; null: until it is changed.
    pub until: Option<DateTime<Utc>>,
}

/// What holds for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountLimits {
    /// The account.
    pub account_id: AccountId,
    /// Its own factor, whether or not it is over.
    #[serde(flatten)]
    pub own: OwnFactor,
    /// Its plan's; null where it has no plan.
    pub plan_factor: Option<i32>,
}
