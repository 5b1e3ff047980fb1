//! Sets prices, and asks them.

use super::{
    model::{CostChange, Job, JobQuote, OperationCost, Prices, Quote},
    rules, store,
};
use crate::{
    audit,
    clock::Timestamp,
    credits::{
        model::{Operation, Pools, Quantity},
        rules::price,
        service::CreditError,
    },
    db::{self, Pool, StoreError},
    money::Credits,
};
use serde_json::json;

/// Why a price was not set.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// It would apply to what was before.
    #[error("the price would apply to the past")]
    InThePast,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an operation would cost, and whether it could be paid for. Writes nothing.
pub async fn quote(pool: &Pool, pools: Pools, operation: Operation, quantity: Quantity, now: Timestamp) -> Result<Quote, CreditError> {
    let prices = store::list_prices(pool).await?;
    let cost = price(operation, quantity, prices.unit_cost(operation, now))?;
    let available = pools.available();
    Ok(Quote { cost, available, sufficient: cost <= available })
}

/// What a job of several parts would cost, and how much of it could be paid for. Writes nothing.
pub async fn quote_job(pool: &Pool, pools: Pools, job: &Job, now: Timestamp) -> Result<JobQuote, CreditError> {
    Ok(rules::quote(job, &store::list_prices(pool).await?, pools.available(), now)?)
}

/// A price that somebody sets.
#[derive(Debug)]
pub struct NewPrice<'a> {
    /// What for.
    pub operation: Operation,
    /// Credits per unit.
    pub cost: Credits,
    /// From when on; none: from now on.
    pub effective_from: Option<Timestamp>,
    /// Why.
    pub reason: &'a str,
}

/// Sets what an operation costs, from now or from an instant to come. Audited.
///
/// # Errors
///
/// [`PriceError::InThePast`] where the instant is over.
pub async fn set_price(
    pool: &Pool,
    new: &NewPrice<'_>,
    origin: &audit::model::Origin,
    now: Timestamp,
) -> Result<OperationCost, PriceError> {
    let (operation, effective_from) = (new.operation, new.effective_from.unwrap_or(now));
    let mut tx = db::begin(pool).await?;
    let before = store::lock_price(&mut tx, operation, now).await?;
    let after = before.changed(new.cost.get(), effective_from, now).ok_or(PriceError::InThePast)?;
    store::mark_price(&mut tx, operation, after, now).await?;
    let change = CostChange { operation, cost: new.cost, effective_from, actor: origin.actor.clone(), created_at: now };
    store::put_change(&mut tx, &change, after.next.map(|(next_from, _)| next_from), now).await?;
    let record = audit::model::Entry {
        account: None,
        action: "credit_cost.changed",
        target: format!("operation:{operation}"),
        before: json!({"cost": before.at(now)}),
        after: json!({"cost": new.cost, "effective_from": effective_from}),
        reason: Some(new.reason.to_owned()),
        at: now,
    };
    audit::service::record_in(&mut tx, origin, &record).await?;
    tx.commit().await.map_err(StoreError::from)?;
    let prices = [(operation, after)].into_iter().collect::<Prices>();
    Ok(prices.cost(operation, now))
}
