//! Edits plans, with a reason and a trace; says which plan a signup gets.

use super::{
    model::{Assignment, FALLBACK_PLAN, Plan, PlanEdit, PlanRecord, TRIAL_PLAN},
    rules::{self, EditRefused},
    store,
};
use crate::{
    audit::{
        self,
        model::{Entry, Origin},
    },
    clock::Timestamp,
    db::{MayCollide, Pool, StoreError, begin, retried},
    money::Credits,
};
use sqlx::PgConnection;

/// Why a plan was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no plan of that name.
    #[error("no such plan")]
    NotFound,
    /// The plan refuses the edit.
    #[error(transparent)]
    Refused(#[from] EditRefused),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayCollide for PlanError {
    fn is_collision(&self) -> bool {
        matches!(self, PlanError::Store(error) if error.is_collision())
    }
}

/// A developer's wish.
#[derive(Debug, Clone)]
pub struct EditOrder<'a> {
    /// The plan's word.
    pub slug: &'a str,
    /// What to change.
    pub edit: PlanEdit,
    /// Why, for the audit log.
    pub reason: String,
    /// Who and from where.
    pub origin: &'a Origin,
}

/// Changes a plan and records it. Other terms are a new version: who has the plan keeps his, whatever he pays and gets, until
/// he changes plan. What it is called and whether it admits anybody is the same for all. An edit that changes nothing
/// leaves no trace.
pub async fn change(pool: &Pool, order: &EditOrder<'_>, now: Timestamp) -> Result<PlanRecord, PlanError> {
    retried(|| async move {
        let mut tx = begin(pool).await?;
        let before = store::lock_plan_by_slug(&mut tx, order.slug).await?.ok_or(PlanError::NotFound)?;
        let after = rules::edited(&before, order.edit.clone())?;
        let (old, new) = rules::difference(&before, &after);
        if new.is_empty() {
            return Ok(before);
        }
        if rules::is_new_version(&before, &after) {
            store::insert_version(&mut tx, &after, now).await?;
        }
        store::mark_shared(&mut tx, &after.plan, now).await?;
        let after = store::lock_plan_by_slug(&mut tx, order.slug).await?.ok_or(PlanError::NotFound)?;
        let entry = Entry {
            account: None,
            action: "plan.changed",
            target: format!("plan:{}", order.slug),
            before: old.into(),
            after: new.into(),
            reason: Some(order.reason.clone()),
            at: now,
        };
        audit::service::record_in(&mut tx, order.origin, &entry).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(after)
    })
    .await
}

/// Why a plan can't be had at signup.
#[derive(Debug, thiserror::Error)]
pub enum SignupPlanError {
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
pub async fn signup_plan_in(connection: &mut PgConnection) -> Result<Plan, SignupPlanError> {
    for slug in [TRIAL_PLAN, FALLBACK_PLAN] {
        let plan = store::find_plan_by_slug(&mut *connection, slug).await?;
        if let Some(plan) = plan.filter(|plan| plan.is_active && plan.credits_per_month > Credits::ZERO) {
            return Ok(plan);
        }
    }
    Err(SignupPlanError::NoSignupPlan)
}

/// The paid plan that a signup has in mind (A4): remembered, not assigned. `None` for the plans that signup gives anyway.
pub async fn intended_plan_in(connection: &mut PgConnection, slug: Option<&str>) -> Result<Option<Plan>, SignupPlanError> {
    let Some(slug) = slug else { return Ok(None) };
    let plan = store::find_plan_by_slug(&mut *connection, slug).await?.ok_or(SignupPlanError::Unknown)?;
    match plan.assignment {
        Assignment::Signup => Ok(None),
        Assignment::Manual => Err(SignupPlanError::ManualOnly),
        Assignment::Payment if plan.is_active => Ok(Some(plan)),
        Assignment::Payment => Err(SignupPlanError::Unknown),
    }
}
