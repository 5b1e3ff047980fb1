//! SQL of the plans.

use super::model::{Assignment, Plan, PlanRecord};
use crate::{
    clock::Timestamp,
    db::{self, StoreError},
    ids::PlanId,
    money::{Credits, Money},
    period::BillingCycle,
};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor, PgPool};

struct PlanRow {
    id: PlanId,
    slug: String,
    name: String,
    price: Decimal,
    billing_cycle: BillingCycle,
    own_credits_per_month: Option<i64>,
    included_credits: i64,
    effective_credits: i64,
    max_sites: i32,
    max_users: i32,
    max_sectors: i32,
    features: Vec<String>,
    assignment: Assignment,
    throttle_factor: i32,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl PlanRow {
    /// The plan; an error where the database holds what its constraints forbid.
    fn record(self) -> Result<PlanRecord, StoreError> {
        let broken = |reason: Box<dyn std::error::Error + Send + Sync>| StoreError::Broken(sqlx::Error::Decode(reason));
        let plan = Plan {
            id: self.id,
            slug: self.slug,
            name: self.name,
            price: Money::from_decimal(self.price).map_err(|error| broken(error.into()))?,
            billing_cycle: self.billing_cycle,
            credits_per_month: Credits::new(self.effective_credits).map_err(|error| broken(error.into()))?,
            max_sites: self.max_sites,
            max_users: self.max_users,
            max_sectors: self.max_sectors,
            features: self.features,
            is_active: self.is_active,
            assignment: self.assignment,
            throttle_factor: self.throttle_factor,
        };
        Ok(PlanRecord {
            plan,
            own_credits_per_month: self.own_credits_per_month,
            included_credits: self.included_credits,
            assignment: self.assignment,
            throttle_factor: self.throttle_factor,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }

    fn plan(self) -> Result<Plan, StoreError> {
        self.record().map(|record| record.plan)
    }
}

/// Every column of the plans that match; a macro, because a checked query must be a literal.
macro_rules! plans {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            PlanRow,
            r#"
            select plan_id as "id: PlanId", slug, name, price, billing_cycle as "billing_cycle: BillingCycle",
                   credits_per_month as "own_credits_per_month", included_credits, effective_credits as "effective_credits!",
                   max_sites, max_users, max_sectors, features, assignment as "assignment: Assignment", throttle_factor,
                   is_active, created_at, updated_at
            from plans
            "# + $rest
            $(, $argument)*
        )
    };
}

/// A plan by its word, active or not.
pub async fn find_plan_by_slug(executor: impl PgExecutor<'_>, slug: &str) -> Result<Option<Plan>, StoreError> {
    let row = plans!("where slug = $1", slug).fetch_optional(executor).await?;
    row.map(PlanRow::plan).transpose()
}

/// A plan by its number, active or not. An error where there is none: whoever has a number has it by a foreign key.
pub async fn get_plan(executor: impl PgExecutor<'_>, id: PlanId) -> Result<Plan, StoreError> {
    plans!("where plan_id = $1", id.0).fetch_one(executor).await?.plan()
}

/// One page of the active plans and how many there are in all.
pub async fn list_active_plans(pool: &PgPool, limit: i64, offset: i64) -> Result<(Vec<Plan>, i64), StoreError> {
    let rows = plans!("where is_active order by plan_id limit $1 offset $2", limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(rows.len(), limit, offset) {
        Some(count) => count,
        None => sqlx::query_scalar!(r#"select count(*) as "count!" from plans where is_active"#).fetch_one(pool).await?,
    };
    Ok((rows.into_iter().map(PlanRow::plan).collect::<Result<_, _>>()?, count))
}

/// One page of all plans, as developers see them, and how many there are in all.
pub async fn list_plans(pool: &PgPool, limit: i64, offset: i64) -> Result<(Vec<PlanRecord>, i64), StoreError> {
    let rows = plans!("order by plan_id limit $1 offset $2", limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(rows.len(), limit, offset) {
        Some(count) => count,
        None => count_plans(pool).await?,
    };
    Ok((rows.into_iter().map(PlanRow::record).collect::<Result<_, _>>()?, count))
}

/// How many plans there are, active or not.
pub async fn count_plans(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from plans"#).fetch_one(executor).await?)
}

/// A plan by its word, locked until the transaction ends.
pub async fn lock_plan_by_slug(connection: &mut PgConnection, slug: &str) -> Result<Option<PlanRecord>, StoreError> {
    let row = plans!("where slug = $1 for update", slug).fetch_optional(connection).await?;
    row.map(PlanRow::record).transpose()
}

/// Writes what a developer may edit of a plan, and when it was done.
pub async fn update_plan(connection: &mut PgConnection, record: &PlanRecord) -> Result<(), StoreError> {
    let plan = &record.plan;
    let done = sqlx::query!(
        r#"
        update plans
        set name = $2, price = $3, credits_per_month = $4, max_sites = $5, max_users = $6, max_sectors = $7, features = $8,
            is_active = $9, updated_at = $10
        where plan_id = $1
        "#,
        plan.id.0,
        plan.name,
        plan.price.decimal(),
        record.own_credits_per_month,
        plan.max_sites,
        plan.max_users,
        plan.max_sectors,
        &plan.features,
        plan.is_active,
        record.updated_at,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}
