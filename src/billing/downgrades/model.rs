//! What a smaller plan brings, told before it begins.

use crate::{
    ids::{SiteId, UserId},
    plans::model::Plan,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A smaller plan that was asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Downgrade {
    /// The plan that the account goes on with; its price is what the next renewal costs.
    pub plan: Plan,
    /// From this instant on: the end of what is paid for.
    pub takes_effect_at: DateTime<Utc>,
    /// What the plan has no room for, as things stand now.
    pub exceeds: Excess,
    /// Whether nothing was kept.
    pub dry_run: bool,
}

/// What a plan has no room for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Excess {
    /// Sites that would be frozen, the oldest of them first.
    pub sites: Vec<FrozenSite>,
    /// People who would be frozen, who came first among them first.
    pub users: Vec<FrozenUser>,
    /// Sites with more sectors than the plan allows. Those stay; no other can be added.
    pub sectors: Vec<CrowdedSite>,
}

/// A site that the plan has no room for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FrozenSite {
    /// Its number.
    pub id: SiteId,
    /// Its name.
    pub name: String,
}

/// Somebody whom the plan has no seat for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FrozenUser {
    /// His number.
    pub id: UserId,
    /// His address.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
}

/// A site with more sectors than the plan allows.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CrowdedSite {
    /// The site's number.
    pub id: SiteId,
    /// The site's name.
    pub name: String,
    /// How many sectors are above the limit.
    pub sectors: i64,
}

/// Why an account can't go on with a smaller plan, or can't stay with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DowngradeRefused {
    /// It costs no less than the account's plan, or is that plan.
    #[error("the plan is not smaller")]
    NotSmaller,
    /// Nothing is paid for whose end could be waited for.
    #[error("no paid period is running")]
    NoPaidPeriod,
    /// The smaller plan is paid for already.
    #[error("the smaller plan is paid for")]
    PaidAhead,
    /// No smaller plan was asked for, or it has begun.
    #[error("no smaller plan is to come")]
    NonePending,
}
