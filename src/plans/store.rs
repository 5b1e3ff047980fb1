//! SQL of plans.

use super::model::{Assignment, Plan};
use crate::{
    db::StoreError,
    ids::PlanId,
    money::{Credits, Money},
    period::BillingCycle,
};
use sqlx::PgConnection;

/// The plan of that word, active or not.
pub async fn find_plan_by_slug(connection: &mut PgConnection, slug: &str) -> Result<Option<Plan>, StoreError> {
    let row = sqlx::query!(
        r#"
        select plan_id as "plan_id: PlanId", slug, name, price, billing_cycle as "billing_cycle: BillingCycle",
               effective_credits as "effective_credits!", max_sites, max_users, max_sectors, features, is_active,
               assignment as "assignment: Assignment", throttle_factor
        from plans
        where slug = $1
        "#,
        slug,
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Plan {
        id: row.plan_id,
        slug: row.slug,
        name: row.name,
        price: Money::from_decimal(row.price).map_err(|error| StoreError::Broken(sqlx::Error::Decode(error.into())))?,
        billing_cycle: row.billing_cycle,
        credits_per_month: Credits::new(row.effective_credits).map_err(|error| StoreError::Broken(sqlx::Error::Decode(error.into())))?,
        max_sites: row.max_sites,
        max_users: row.max_users,
        max_sectors: row.max_sectors,
        features: row.features,
        is_active: row.is_active,
        assignment: row.assignment,
        throttle_factor: row.throttle_factor,
    }))
}
