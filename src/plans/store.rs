//! SQL of the plans.

use super::model::{Assignment, Plan, PlanRecord};
use crate::{
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::PlanId,
    money::{Credits, Money},
    period::BillingCycle,
};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor};

struct PlanRow {
    number: PlanId,
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
    version: i32,
    superseded_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl PlanRow {
    /// The plan; an error where the database holds what its constraints forbid.
    fn record(self) -> Result<PlanRecord, StoreError> {
        let broken = |reason: Box<dyn std::error::Error + Send + Sync>| StoreError::Broken(sqlx::Error::Decode(reason));
        let plan = Plan {
            number: self.number,
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
            version: self.version,
            superseded_at: self.superseded_at,
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
            select coalesce(version_of, plan_id) as "number!: PlanId", plan_id as "id: PlanId", slug, name, price, billing_cycle as "billing_cycle: BillingCycle",
                   credits_per_month as "own_credits_per_month", included_credits, effective_credits as "effective_credits!",
                   max_sites, max_users, max_sectors, features, assignment as "assignment: Assignment", throttle_factor,
                   is_active, version, superseded_at, created_at, updated_at
            from plans
            "# + $rest
            $(, $argument)*
        )
    };
}

/// A plan by its word as it is on offer, active or not.
pub async fn find_plan_by_slug(executor: impl PgExecutor<'_>, slug: &str) -> Result<Option<Plan>, StoreError> {
    let row = plans!("where slug = $1 and superseded_at is null", slug).fetch_optional(executor).await?;
    row.map(PlanRow::plan).transpose()
}

/// A version of a plan by its row, on offer or not. An error where there is none: whoever has a number has it by a foreign key.
pub async fn get_plan(executor: impl PgExecutor<'_>, id: PlanId) -> Result<Plan, StoreError> {
    plans!("where plan_id = $1", id.0).fetch_one(executor).await?.plan()
}

/// One page of the active plans and how many there are in all.
pub async fn list_active_plans(pool: &Pool, limit: i64, offset: i64) -> Result<(Vec<Plan>, i64), StoreError> {
    let rows = plans!("where is_active and superseded_at is null order by 1 limit $1 offset $2", limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(rows.len(), limit, offset) {
        Some(count) => count,
        None => {
            sqlx::query_scalar!(r#"select count(*) as "count!" from plans where is_active and superseded_at is null"#)
                .fetch_one(pool)
                .await?
        }
    };
    Ok((rows.into_iter().map(PlanRow::plan).collect::<Result<_, _>>()?, count))
}

/// One page of all plans as they are on offer, as developers see them, and how many there are in all.
pub async fn list_plans(pool: &Pool, limit: i64, offset: i64) -> Result<(Vec<PlanRecord>, i64), StoreError> {
    let rows = plans!("where superseded_at is null order by 1 limit $1 offset $2", limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(rows.len(), limit, offset) {
        Some(count) => count,
        None => count_plans(pool).await?,
    };
    Ok((rows.into_iter().map(PlanRow::record).collect::<Result<_, _>>()?, count))
}

/// How many plans there are, active or not.
pub async fn count_plans(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from plans where superseded_at is null"#).fetch_one(executor).await?)
}

/// A plan by its word as it is on offer, locked until the transaction ends.
pub async fn lock_plan_by_slug(connection: &mut PgConnection, slug: &str) -> Result<Option<PlanRecord>, StoreError> {
    let row = plans!("where slug = $1 and superseded_at is null for update", slug).fetch_optional(connection).await?;
    row.map(PlanRow::record).transpose()
}

/// One page of a plan's versions, newest first, and how many there are in all.
pub async fn list_versions(pool: &Pool, slug: &str, limit: i64, offset: i64) -> Result<(Vec<PlanRecord>, i64), StoreError> {
    let rows = plans!("where slug = $1 order by version desc limit $2 offset $3", slug, limit, offset).fetch_all(pool).await?;
    let count = match db::count_told_by_page(rows.len(), limit, offset) {
        Some(count) => count,
        None => sqlx::query_scalar!(r#"select count(*) as "count!" from plans where slug = $1"#, slug).fetch_one(pool).await?,
    };
    Ok((rows.into_iter().map(PlanRow::record).collect::<Result<_, _>>()?, count))
}

/// Puts a new version in the place of the one on offer, which keeps its customers. Gives the new row.
pub async fn insert_version(connection: &mut PgConnection, record: &PlanRecord, now: Timestamp) -> Result<PlanId, StoreError> {
    let plan = &record.plan;
    sqlx::query!("update plans set superseded_at = $2 where plan_id = $1 and superseded_at is null", plan.id.0, now)
        .execute(&mut *connection)
        .await?;
    let id = sqlx::query_scalar!(
        r#"
        insert into plans (slug, name, price, billing_cycle, credits_per_month, included_credits, max_sites, max_users, max_sectors, features,
                           assignment, throttle_factor, is_active, created_at, updated_at, version, version_of)
        select slug, name, $2, billing_cycle, $3, included_credits, $4, $5, $6, $7, assignment, throttle_factor, is_active, $8, $8,
               version + 1, coalesce(version_of, plan_id)
        from plans where plan_id = $1
        returning plan_id as "id: PlanId"
        "#,
        plan.id.0,
        plan.price.decimal(),
        record.own_credits_per_month,
        plan.max_sites,
        plan.max_users,
        plan.max_sectors,
        &plan.features,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// Writes what all versions of a plan share: what it is called, and whether it admits anybody.
pub async fn mark_shared(connection: &mut PgConnection, plan: &Plan, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!("update plans set name = $2, is_active = $3, updated_at = $4 where slug = $1", plan.slug, plan.name, plan.is_active, now)
        .execute(connection)
        .await?;
    Ok(())
}
