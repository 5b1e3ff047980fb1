//! SQL of this room: what is stored, at a glance. Reads every table, which no other room but the gate may.

use super::model::{AccountState, Counts, PlanState, VerifyRuns};
use crate::{accounts::model::AccountStatus, clock::Timestamp, db::StoreError, ids::AccountId, money::Money, period::BillingCycle};
use chrono::NaiveDate;
use sqlx::{PgConnection, PgExecutor};

/// Whether the database answers.
pub async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(connection).await?;
    Ok(())
}

/// Makes the transaction one picture of one instant, that changes nothing and may take its time.
pub async fn mark_snapshot(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(&mut *connection).await?;
    sqlx::query!("set local statement_timeout = 0").execute(connection).await?;
    Ok(())
}

/// Takes a day's asking of the laws; none when it was done, or another instance began it after `given_up`.
pub async fn insert_verify_run(
    executor: impl PgExecutor<'_>,
    asked_for: Option<NaiveDate>,
    given_up: Timestamp,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let run = sqlx::query_scalar!(
        r#"
        insert into verify_runs as run (asked_for, began_at) values ($1, $2)
        on conflict (asked_for) do update set began_at = excluded.began_at where run.violations is null and run.began_at < $3
        returning verify_run_id
        "#,
        asked_for,
        now,
        given_up
    )
    .fetch_optional(executor)
    .await?;
    Ok(run)
}

/// Notes what the asking found.
pub async fn mark_verify_run(executor: impl PgExecutor<'_>, run: i64, violations: i32) -> Result<(), StoreError> {
    sqlx::query!("update verify_runs set violations = $2 where verify_run_id = $1", run, violations).execute(executor).await?;
    Ok(())
}

/// When the laws were last asked and held, and what the last asking found.
pub async fn get_verify_runs(connection: &mut PgConnection) -> Result<VerifyRuns, StoreError> {
    let runs = sqlx::query_as!(
        VerifyRuns,
        r#"
        select (select max(began_at) from verify_runs where violations = 0) as last_clean,
               (select violations from verify_runs where violations is not null order by verify_run_id desc limit 1) as violations
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(runs)
}

/// Every plan, cheapest first.
pub async fn list_plans(connection: &mut PgConnection) -> Result<Vec<PlanState>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select p.slug, p.name, p.price, p.billing_cycle as "billing_cycle: BillingCycle", p.effective_credits as "credits!", p.is_active,
               (select count(*) from accounts a where a.plan_id = p.plan_id and a.deleted_at is null) as "accounts!"
        from plans p
        order by p.price, p.plan_id
        "#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let price = Money::from_decimal(row.price).map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok(PlanState {
                slug: row.slug,
                name: row.name,
                price,
                billing_cycle: row.billing_cycle,
                credits_per_month: row.credits,
                is_active: row.is_active,
                accounts: row.accounts,
            })
        })
        .collect()
}

/// The first living accounts by number.
pub async fn list_accounts(connection: &mut PgConnection, count_max: i64) -> Result<Vec<AccountState>, StoreError> {
    let rows = sqlx::query_as!(
        AccountState,
        r#"
        select a.account_id as "id: AccountId", a.slug, a.name, p.slug as "plan?", coalesce(b.plan_credits + b.extra_credits, 0) as "credits!",
               a.status as "status: AccountStatus", s.current_period_end as "period_ends_at?"
        from accounts a
        left join plans p on p.plan_id = a.plan_id
        left join credit_balances b on b.account_id = a.account_id
        left join subscriptions s on s.account_id = a.account_id
        where a.deleted_at is null
        order by a.account_id
        limit $1
        "#,
        count_max,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// How much there is of each kind.
pub async fn get_counts(connection: &mut PgConnection) -> Result<Counts, StoreError> {
    let counts = sqlx::query_as!(
        Counts,
        r#"
        select (select count(*) from accounts where deleted_at is null) as "accounts!",
               (select count(*) from users where deleted_at is null) as "users!",
               (select count(*) from sites where deleted_at is null) as "sites!",
               (select count(*) from credit_transactions) as "credit_transactions!",
               (select count(*) from invoices) as "invoices!", (select count(*) from payments) as "payments!",
               (select count(*) from audit_log) as "audit_rows!"
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(counts)
}
