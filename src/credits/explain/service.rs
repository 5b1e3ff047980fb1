//! Reads what an explanation needs, all of the same instant.

use super::{
    model::Explanation,
    rules::{self, EXTRA_GRANTS_MAX},
    store,
};
use crate::{
    clock::Timestamp,
    credits::lots,
    db::{self, Pool, StoreError},
    ids::AccountId,
};

/// How today's balance came about: so many periods' grants, before one of them where it is named, and the newest extra credits.
///
/// # Errors
///
/// When the database can't be asked.
pub async fn explain(
    pool: &Pool,
    account: AccountId,
    before_period: Option<i32>,
    periods: usize,
    now: Timestamp,
) -> Result<Explanation, StoreError> {
    let mut tx = db::begin(pool).await?;
    store::mark_snapshot(&mut tx).await?;
    let balance = store::get_balance(&mut tx, account, now).await?;
    let one_more = i64::try_from(periods).unwrap_or(i64::MAX).saturating_add(1);
    let mut grants = store::list_grants(&mut *tx, account, before_period, one_more).await?;
    let is_more = grants.len() > periods;
    grants.truncate(periods);
    let moves = store::list_plan_moves(&mut *tx, account, &grants).await?;
    let extra_rows = store::list_extra_grants(&mut *tx, account, EXTRA_GRANTS_MAX).await?;
    let known_lots = lots::store::list_lots(&mut *tx, account).await?;
    tx.rollback().await?;
    let next_before_period = grants.last().map(|oldest| oldest.period).filter(|_| is_more);
    Ok(Explanation {
        credits: balance.plan.plus(balance.extra_now).unwrap_or_default(),
        plan_credits: balance.plan,
        extra_credits: balance.extra_now,
        plan_grants: rules::plan_grants(grants, &moves),
        extra_grants: rules::extra_grants(extra_rows, known_lots, balance.extra, now),
        next_before_period,
    })
}
