//! SQL of the past. Every query finds its place by the account's sequence: see `credit_seq_by` in migration 0016.

use super::{
    model::{Days, Pace, PastBalance, UsageRow},
    rules::DISORDER_MAX,
};
use crate::{clock::Timestamp, credits::model::Operation, db::StoreError, ids::AccountId, money::Credits};
use sqlx::PgExecutor;

/// The use of some days, and the credits given back in them.
pub async fn list_usage(executor: impl PgExecutor<'_>, account: AccountId, days: Days) -> Result<(Vec<UsageRow>, Credits), StoreError> {
    let rows = sqlx::query!(
        r#"
        select (created_at at time zone 'UTC')::date as "day!", operation as "operation: Operation", count(*) as "runs!",
               coalesce(sum(quantity), 0)::bigint as "quantity!", sum(amount)::bigint as "amount!: Credits"
        from credit_transactions
        where account_id = $1 and seq > credit_seq_by($1, $4) and seq <= credit_seq_by($1, $5)
          and created_at >= $2 and created_at < $3 and kind in ('deduction', 'refund')
        group by 1, 2
        order by 1, 2
        "#,
        account.0,
        days.starts_at(),
        days.ends_at(),
        days.starts_at() - DISORDER_MAX,
        days.ends_at() + DISORDER_MAX
    )
    .fetch_all(executor)
    .await?;
    let refunds = rows.iter().filter(|row| row.operation.is_none());
    let refunded = refunds.fold(Credits::ZERO, |sum, row| sum.plus(row.amount).unwrap_or(Credits::MAX));
    let used = rows.into_iter().filter_map(|row| {
        let (day, operation) = (row.day, row.operation?);
        Some(UsageRow { day, operation, runs: row.runs, quantity: row.quantity, credits: row.amount.negated() })
    });
    Ok((used.collect(), refunded))
}

/// What was deducted since an instant, and when the account's ledger began.
pub async fn get_pace(executor: impl PgExecutor<'_>, account: AccountId, since: Timestamp) -> Result<Pace, StoreError> {
    let pace = sqlx::query_as!(
        Pace,
        r#"
        select coalesce(-sum(amount), 0)::bigint as "spent!: Credits",
               (select created_at from credit_transactions where account_id = $1 and seq = 1) as "began_at: Timestamp"
        from credit_transactions
        where account_id = $1 and seq > credit_seq_by($1, $3) and created_at >= $2 and kind = 'deduction'
        "#,
        account.0,
        since,
        since - DISORDER_MAX
    )
    .fetch_one(executor)
    .await?;
    Ok(pace)
}

/// What an account had at an instant: the balance after the newest entry that was made by then. Lots that were over by then
/// count as gone, also where that is not written down yet.
pub async fn get_balance_at(executor: impl PgExecutor<'_>, account: AccountId, at: Timestamp) -> Result<PastBalance, StoreError> {
    let row = sqlx::query!(
        r#"
        select t.seq, t.plan_after as "plan: Credits",
               case when t.seq = b.last_seq and b.next_expiry_at <= $2 then credit_extra_at(b.account_id, t.extra_after, $2) else t.extra_after end
                   as "extra!: Credits"
        from credit_transactions t
        join credit_balances b on b.account_id = t.account_id
        where t.account_id = $1 and t.seq <= credit_seq_by($1, $3) and t.created_at <= $2
        order by t.seq desc
        limit 1
        "#,
        account.0,
        at,
        at + DISORDER_MAX
    )
    .fetch_optional(executor)
    .await?;
    let (transaction, plan, extra) = row.map_or((None, Credits::ZERO, Credits::ZERO), |row| (Some(row.seq), row.plan, row.extra));
    let credits = plan.plus(extra).unwrap_or(Credits::MAX);
    Ok(PastBalance { as_of: at, credits, plan_credits: plan, extra_credits: extra, transaction })
}
