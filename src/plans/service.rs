//! Which plan a signup gets, and which one it only asks for.

use super::{
    model::{Assignment, FALLBACK_PLAN, Plan, TRIAL_PLAN},
    store,
};
use crate::{db::StoreError, money::Credits};
use sqlx::PgConnection;

/// Why a plan can't be had at signup.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Neither the trial nor its fallback can be assigned (A1).
    #[error("there is no plan to start on")]
    NoSignupPlan,
    /// A plan that only a developer assigns, by hand (A3).
    #[error("the plan is assigned by hand only")]
    ManualOnly,
    /// No plan of that word is offered.
    #[error("no such plan")]
    Unknown,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every signup starts on, whatever it asked for: the trial, else the free plan (A1).
///
/// A plan without credits does not serve: an account never starts with none (A2).
pub async fn signup_plan_in(connection: &mut PgConnection) -> Result<Plan, PlanError> {
    for slug in [TRIAL_PLAN, FALLBACK_PLAN] {
        let plan = store::find_plan_by_slug(connection, slug).await?;
        if let Some(plan) = plan.filter(|plan| plan.is_active && plan.credits_per_month > Credits::ZERO) {
            return Ok(plan);
        }
    }
    Err(PlanError::NoSignupPlan)
}

/// The paid plan that a signup has in mind (A4): remembered, not assigned. `None` for the plans that signup gives anyway.
pub async fn intended_plan_in(connection: &mut PgConnection, slug: Option<&str>) -> Result<Option<Plan>, PlanError> {
    let Some(slug) = slug else { return Ok(None) };
    let plan = store::find_plan_by_slug(connection, slug).await?.ok_or(PlanError::Unknown)?;
    match plan.assignment {
        Assignment::Signup => Ok(None),
        Assignment::Manual => Err(PlanError::ManualOnly),
        Assignment::Payment if plan.is_active => Ok(Some(plan)),
        Assignment::Payment => Err(PlanError::Unknown),
    }
}
