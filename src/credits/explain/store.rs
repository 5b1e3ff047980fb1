//! SQL of explanations. Each finds its rows by an index that no debit enters, or by the sequence between two of them.

use super::model::{ExtraRow, GrantRow, PlanMove, Reset};
use crate::{
    clock::Timestamp,
    credits::model::{Operation, TransactionKind},
    db::StoreError,
    ids::AccountId,
    money::Credits,
};
use sqlx::{PgConnection, PgExecutor};

/// Grants of periods before one, newest first.
pub async fn list_grants(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    before_period: Option<i32>,
    limit: i64,
) -> Result<Vec<GrantRow>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select g.seq, g.period_seq as "period!", g.plan_amount as "granted: Credits", g.created_at, g.description, next_grant.seq as "next_seq?",
               expiry.seq as "expiry_seq?", expiry.plan_amount as "expired?: Credits", expiry.created_at as "expired_at?",
               expiry.period_seq as "next_period?", expiry.description as "expiry_description?"
        from credit_transactions g
        left join lateral (
            select seq from credit_transactions
            where account_id = g.account_id and kind = 'subscription' and period_seq > g.period_seq
            order by period_seq limit 1
        ) next_grant on true
        left join lateral (
            select seq, plan_amount, created_at, period_seq, description from credit_transactions
            where account_id = g.account_id and kind = 'expiry' and seq > g.seq and plan_amount < 0
              and (next_grant.seq is null or seq < next_grant.seq)
            order by seq limit 1
        ) expiry on true
        where g.account_id = $1 and g.kind = 'subscription' and g.period_seq < $2
        order by g.period_seq desc
        limit $3
        "#,
        account.0,
        before_period.unwrap_or(i32::MAX),
        limit
    )
    .fetch_all(executor)
    .await?;
    let grants = rows.into_iter().map(|row| {
        let reset = match (row.expiry_seq, row.expired, row.expired_at, row.expiry_description) {
            (Some(transaction), Some(expired), Some(at), Some(description)) => {
                Some(Reset { transaction, expired: expired.negated(), at, next_period: row.next_period, description })
            }
            _ => None,
        };
        GrantRow {
            seq: row.seq,
            period: row.period,
            granted: row.granted,
            granted_at: row.created_at,
            description: row.description,
            end_seq: row.expiry_seq.or(row.next_seq),
            reset,
        }
    });
    Ok(grants.collect())
}

/// What moved the plan pool between each grant and its end.
pub async fn list_plan_moves(executor: impl PgExecutor<'_>, account: AccountId, grants: &[GrantRow]) -> Result<Vec<PlanMove>, StoreError> {
    let starts = grants.iter().map(|grant| grant.seq).collect::<Vec<_>>();
    let ends = grants.iter().map(|grant| grant.end_seq.unwrap_or(i64::MAX)).collect::<Vec<_>>();
    let rows = sqlx::query_as!(
        PlanMove,
        r#"
        select w.grant_seq as "grant_seq!", t.operation as "operation: Operation", count(*) as "runs!", sum(t.plan_amount)::bigint as "amount!: Credits"
        from unnest($2::bigint[], $3::bigint[]) as w (grant_seq, end_seq)
        join credit_transactions t on t.account_id = $1 and t.seq > w.grant_seq and t.seq < w.end_seq and t.plan_amount <> 0
        group by 1, 2
        order by 1, 2
        "#,
        account.0,
        &starts,
        &ends
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// The newest extra credits that were given, newest first.
pub async fn list_extra_grants(executor: impl PgExecutor<'_>, account: AccountId, limit: i64) -> Result<Vec<ExtraRow>, StoreError> {
    let rows = sqlx::query_as!(
        ExtraRow,
        r#"
        with given as (
            select seq, kind, extra_amount, created_at, description, (metadata ->> 'expires_at')::timestamptz as expires_at,
                   sum(case when metadata ? 'expires_at' then 0 else extra_amount end) over (order by seq)::bigint as kept_so_far
            from credit_transactions
            where account_id = $1 and kind in ('purchase', 'adjustment', 'refund') and extra_amount > 0
        ), ended as (
            select (metadata ->> 'lot')::bigint as lot, -sum(extra_amount)::bigint as expired
            from credit_transactions
            where account_id = $1 and kind = 'expiry' and extra_amount < 0
            group by 1
        )
        select given.seq, given.kind as "kind: TransactionKind", given.extra_amount as "given: Credits", given.created_at as given_at,
               given.description, given.expires_at, coalesce(ended.expired, 0) as "expired!: Credits", given.kept_so_far as "kept_so_far!: Credits"
        from given
        left join ended on ended.lot = given.seq
        order by given.seq desc
        limit $2
        "#,
        account.0,
        limit
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// A balance as the row has it, and its extra pool without the lots that are over.
#[derive(Debug)]
pub struct BalanceRow {
    /// Plan credits.
    pub plan: Credits,
    /// Extra credits, as the row has them.
    pub extra: Credits,
    /// Extra credits at the instant that was asked for.
    pub extra_now: Credits,
}

/// The balance of an account; zeros where it has none.
pub async fn get_balance(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<BalanceRow, StoreError> {
    let row = sqlx::query_as!(
        BalanceRow,
        r#"
        select plan_credits as "plan: Credits", extra_credits as "extra: Credits",
               case when next_expiry_at <= $2 then credit_extra_at(account_id, extra_credits, $2) else extra_credits end as "extra_now!: Credits"
        from credit_balances where account_id = $1
        "#,
        account.0,
        now
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.unwrap_or(BalanceRow { plan: Credits::ZERO, extra: Credits::ZERO, extra_now: Credits::ZERO }))
}

/// Makes all queries of the transaction see the same instant.
pub async fn mark_snapshot(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(connection).await?;
    Ok(())
}
