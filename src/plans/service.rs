//! Edits plans, with a reason and a trace; seeds what is missing.

use super::{
    model::{PlanEdit, PlanRecord},
    rules::{self, EditRefused},
    store,
};
use crate::{
    audit::{
        self,
        model::{Entry, Origin},
    },
    clock::Timestamp,
    db::{MayCollide, StoreError, begin, retried},
};
use sqlx::PgPool;

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

/// Changes a plan and records it. Accounts on the plan are judged by it from their next request on; what they have
/// paid for and been granted stays as it was. An edit that changes nothing leaves no trace.
pub async fn change(pool: &PgPool, order: &EditOrder<'_>, now: Timestamp) -> Result<PlanRecord, PlanError> {
    retried(async || {
        let mut tx = begin(pool).await?;
        let before = store::lock_plan_by_slug(&mut tx, order.slug).await?.ok_or(PlanError::NotFound)?;
        let mut after = rules::edited(&before, order.edit.clone())?;
        let (old, new) = rules::difference(&before, &after);
        if new.is_empty() {
            return Ok(before);
        }
        after.updated_at = now;
        store::update_plan(&mut tx, &after).await?;
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

/// Adds what is missing of the reference data; what exists is left as it is. Returns how many plans there are now.
pub async fn seed(pool: &PgPool) -> Result<i64, StoreError> {
    retried(async || {
        let mut tx = begin(pool).await?;
        store::insert_seed(&mut tx).await?;
        let count = store::count_plans(&mut *tx).await?;
        tx.commit().await?;
        Ok(count)
    })
    .await
}
