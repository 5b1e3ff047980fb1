//! What can be bought.

use crate::{
    ids::PlanId,
    money::{Credits, Money},
    period::BillingCycle,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What signup assigns (A1).
pub const TRIAL_PLAN: &str = "free-trial";
/// What signup assigns where the trial is not to be had (A1).
pub const FALLBACK_PLAN: &str = "free";

crate::words! {
    /// Who may assign a plan (A1, A3, A4).
    pub enum Assignment {
        /// Registration.
        Signup = "signup",
        /// Upgrade and payment confirmation.
        Payment = "payment",
        /// A developer, by hand.
        Manual = "manual",
    }
}

/// A plan, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Plan {
    /// Its number.
    pub id: PlanId,
    /// Its word.
    #[schema(example = "starter")]
    pub slug: String,
    /// Its name.
    #[schema(example = "Starter")]
    pub name: String,
    /// US dollars per cycle.
    pub price: Money,
    /// Monthly or annual.
    pub billing_cycle: BillingCycle,
    /// The effective figure: the one that seeding, activation and renewal use.
    pub credits_per_month: Credits,
    /// Live sites at the most.
    pub max_sites: i32,
    /// Seats at the most.
    pub max_users: i32,
    /// Sectors per site at the most.
    pub max_sectors: i32,
    /// What it switches on.
    pub features: Vec<String>,
    /// Whether it admits anybody.
    pub is_active: bool,
    /// Who may assign it; not told to clients.
    #[serde(skip)]
    pub assignment: Assignment,
    /// Times the base limit of each throttle scope; not told to clients.
    #[serde(skip)]
    pub throttle_factor: i32,
}
