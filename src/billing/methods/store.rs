//! SQL of payment methods.

use super::model::{CountryDetails, MethodSettings, PaymentOption};
use crate::{clock::Timestamp, db::StoreError, ids::PaymentMethod};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

/// The ways to pay that are on offer, with the details of the first of these countries that has some.
pub async fn list_options(executor: impl PgExecutor<'_>, countries: &[String]) -> Result<Vec<PaymentOption>, StoreError> {
    let rows = sqlx::query_as!(
        PaymentOption,
        r#"
        select m.method as "method: PaymentMethod", m.name, coalesce(c.details, m.details) as "details!", coalesce(c.instructions, m.instructions) as "instructions!"
        from payment_methods m
        left join lateral (
            select details, instructions from payment_method_countries
            where method = m.method and country = any($1) order by array_position($1, country) limit 1
        ) c on true
        where m.is_active order by m.method
        "#,
        countries
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// Every way to pay with all its details. There are three at the most.
pub async fn list_settings(connection: &mut PgConnection) -> Result<Vec<MethodSettings>, StoreError> {
    let methods = sqlx::query!(
        r#"select method as "method: PaymentMethod", name, details, instructions, is_active from payment_methods order by method"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut settings = Vec::with_capacity(methods.len());
    for row in methods {
        let countries = sqlx::query_as!(
            CountryDetails,
            "select country, details, instructions from payment_method_countries where method = $1 order by country",
            row.method.as_str()
        )
        .fetch_all(&mut *connection)
        .await?;
        let (method, name, details, instructions, is_active) = (row.method, row.name, row.details, row.instructions, row.is_active);
        settings.push(MethodSettings { method, name, details, instructions, is_active, countries });
    }
    Ok(settings)
}

/// Locks a way to pay, before it or one of its countries is changed.
pub async fn lock_method(connection: &mut PgConnection, method: PaymentMethod) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!("select method from payment_methods where method = $1 for update", method.as_str());
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// Changes what serves everybody; what is not given stays.
pub async fn mark_method(
    connection: &mut PgConnection,
    method: PaymentMethod,
    (name, details, instructions, is_active): (Option<&str>, Option<&Value>, Option<&str>, Option<bool>),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update payment_methods set name = coalesce($2, name), details = coalesce($3, details), instructions = coalesce($4, instructions),
            is_active = coalesce($5, is_active), updated_at = $6
        where method = $1
        "#,
        method.as_str(),
        name,
        details,
        instructions,
        is_active,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Changes what serves a country; a country that had nothing of its own begins with what serves everybody.
pub async fn put_country(
    connection: &mut PgConnection,
    method: PaymentMethod,
    country: &str,
    (details, instructions): (Option<&Value>, Option<&str>),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        insert into payment_method_countries as c (method, country, details, instructions, updated_at)
        select m.method, $2, coalesce($3, m.details), coalesce($4, m.instructions), $5 from payment_methods m where m.method = $1
        on conflict (method, country) do update set details = coalesce($3, c.details), instructions = coalesce($4, c.instructions), updated_at = $5
        "#,
        method.as_str(),
        country,
        details,
        instructions,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
