//! SQL of prices.

use super::model::{CostChange, Price, Prices};
use crate::{clock::Timestamp, credits::model::Operation, db::StoreError, money::Credits};
use sqlx::{PgConnection, PgExecutor};

/// The prices that were edited, each with the one to come, and their version at the same instant.
pub async fn list_prices(executor: impl PgExecutor<'_>) -> Result<Prices, StoreError> {
    let rows = sqlx::query!(
        r#"
        select rules.version, c.operation as "operation?: Operation", c.cost as "cost?", c.next_cost, c.next_from
        from spending_rules rules left join credit_costs c on true
        where rules.only_row
        "#
    )
    .fetch_all(executor)
    .await?;
    let version = rows.first().map_or(0, |row| row.version);
    let edited =
        rows.into_iter().filter_map(|row| Some((row.operation?, Price { cost: row.cost?, next: row.next_from.zip(row.next_cost) })));
    Ok(Prices { edited: edited.collect(), version })
}

/// Locks an operation's price; puts the built-in one there first, where there is none.
pub async fn lock_price(connection: &mut PgConnection, operation: Operation, now: Timestamp) -> Result<Price, StoreError> {
    sqlx::query!(
        "insert into credit_costs (operation, cost, updated_at) values ($1, $2, $3) on conflict (operation) do nothing",
        operation.as_str(),
        operation.default_cost(),
        now
    )
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query!("select cost, next_cost, next_from from credit_costs where operation = $1 for update", operation.as_str())
        .fetch_one(connection)
        .await?;
    Ok(Price { cost: row.cost, next: row.next_from.zip(row.next_cost) })
}

/// Sets an operation's price. It must be locked.
pub async fn mark_price(connection: &mut PgConnection, operation: Operation, price: Price, now: Timestamp) -> Result<(), StoreError> {
    let (next_from, next_cost) = price.next.unzip();
    sqlx::query!(
        "update credit_costs set cost = $2, next_cost = $3, next_from = $4, updated_at = $5 where operation = $1",
        operation.as_str(),
        price.cost,
        next_cost,
        next_from,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds a price to the history. What else was to come at `now` is dropped, but for what `kept` names. The price must be locked.
pub async fn put_change(
    connection: &mut PgConnection,
    change: &CostChange,
    kept: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from credit_cost_changes where operation = $1 and effective_from > $2 and effective_from is distinct from $3",
        change.operation.as_str(),
        now,
        kept
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        insert into credit_cost_changes (operation, effective_from, cost, actor, created_at) values ($1, $2, $3, $4, $5)
        on conflict (operation, effective_from) do update set cost = $3, actor = $4, created_at = $5
        "#,
        change.operation.as_str(),
        change.effective_from,
        change.cost.get(),
        change.actor,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One page of all prices that were ever set and of those to come, the latest first.
pub async fn list_changes(executor: impl PgExecutor<'_>, limit: i64, offset: i64) -> Result<Vec<CostChange>, StoreError> {
    let rows = sqlx::query_as!(
        CostChange,
        r#"
        select operation as "operation: Operation", cost as "cost: Credits", effective_from, actor, created_at
        from credit_cost_changes order by effective_from desc, operation limit $1 offset $2
        "#,
        limit,
        offset
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// How many there are.
pub async fn count_changes(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from credit_cost_changes"#).fetch_one(executor).await?)
}
