//! SQL of refunds.

use super::model::Refundable;
use crate::{credits::model::TransactionKind, db::StoreError, ids::AccountId, money::Credits};
use sqlx::PgConnection;

/// An entry with what was given back of it. Exact only while the balance is locked.
pub async fn find_refundable(connection: &mut PgConnection, account: AccountId, seq: i64) -> Result<Option<Refundable>, StoreError> {
    let found = sqlx::query_as!(
        Refundable,
        r#"
        select t.kind as "kind: TransactionKind", t.plan_amount as "plan: Credits", t.extra_amount as "extra: Credits",
               coalesce(given.plan, 0) as "plan_refunded!: Credits", coalesce(given.extra, 0) as "extra_refunded!: Credits"
        from credit_transactions t
        left join lateral (
            select sum(back.plan_amount)::bigint as plan, sum(back.extra_amount)::bigint as extra
            from credit_refunds r
            join credit_transactions back on back.account_id = r.account_id and back.seq = r.refund_seq
            where r.account_id = t.account_id and r.deduction_seq = t.seq
        ) given on true
        where t.account_id = $1 and t.seq = $2
        "#,
        account.0,
        seq
    )
    .fetch_optional(connection)
    .await?;
    Ok(found)
}

/// Notes which deduction an entry gives back.
pub async fn insert_refund(
    connection: &mut PgConnection,
    account: AccountId,
    (refund_seq, deduction_seq): (i64, i64),
    amount: Credits,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into credit_refunds (account_id, refund_seq, deduction_seq, amount) values ($1, $2, $3, $4)",
        account.0,
        refund_seq,
        deduction_seq,
        amount.get()
    )
    .execute(connection)
    .await?;
    Ok(())
}
