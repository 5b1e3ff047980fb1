//! What can be bought.

use crate::{
    ids::PlanId,
    money::{Credits, Money},
    period::BillingCycle,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

/// What signup assigns (A1).
pub const TRIAL_PLAN: &str = "free-trial";
/// What signup assigns where the trial is not to be had (A1).
pub const FALLBACK_PLAN: &str = "free";

/// Features of one plan at the most.
const FEATURES_MAX: usize = 50;
/// Characters of a feature's name at the most.
const FEATURE_CHARS_MAX: usize = 64;

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
    /// Its number, the same for all its versions.
    #[serde(rename = "id")]
    pub number: PlanId,
    /// The row of this very version, which whoever has the plan refers to; not told to clients.
    #[serde(skip)]
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

/// A plan with everything that is known of it, as developers see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PlanRecord {
    /// What everybody sees.
    #[serde(flatten)]
    pub plan: Plan,
    /// The plan's own monthly credits; unset: `included_credits` serves.
    pub own_credits_per_month: Option<i64>,
    /// The older figure, a fallback only.
    pub included_credits: i64,
    /// Who may assign it.
    pub assignment: Assignment,
    /// Times the base limit of each throttle scope.
    pub throttle_factor: i32,
    /// 1, 2, 3 …: each edit of what a customer pays or gets makes a new one, and who has an older one keeps it.
    pub version: i32,
    /// When a newer version took its place; null: this one is on offer.
    pub superseded_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What a developer wants changed; what is unset stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanEdit {
    /// Another name.
    pub name: Option<String>,
    /// Another price. Who has the plan keeps the one that he has.
    pub price: Option<Money>,
    /// Other monthly credits; `Some(None)` unsets the plan's own figure.
    pub credits_per_month: Option<Option<i64>>,
    /// Another limit of live sites.
    pub max_sites: Option<i32>,
    /// Another limit of seats.
    pub max_users: Option<i32>,
    /// Another limit of sectors per site.
    pub max_sectors: Option<i32>,
    /// Other features, all of them.
    pub features: Option<Features>,
    /// On or off.
    pub is_active: Option<bool>,
}

/// What a plan switches on: at most fifty words of `[a-z0-9_]`, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Vec<String>, example = json!(["ai_writer", "image_gen"]))]
pub struct Features(pub Vec<String>);

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let features = Vec::<String>::deserialize(deserializer)?;
        let is_word = |feature: &String| {
            (1..=FEATURE_CHARS_MAX).contains(&feature.len())
                && feature.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if features.len() > FEATURES_MAX {
            return Err(D::Error::custom(format!("name at most {FEATURES_MAX} features")));
        }
        if !features.iter().all(is_word) {
            return Err(D::Error::custom("a feature is 1 to 64 characters of a-z, 0-9 and _"));
        }
        if features.iter().enumerate().any(|(i, feature)| features.iter().take(i).any(|earlier| earlier == feature)) {
            return Err(D::Error::custom("name each feature once"));
        }
        Ok(Features(features))
    }
}
