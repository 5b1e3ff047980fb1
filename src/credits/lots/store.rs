//! SQL of lots.

use super::model::Lot;
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::AccountId,
    money::Credits,
};
use sqlx::{PgConnection, PgExecutor};

/// An account's lots as they were last settled. Exact only while its balance is locked.
pub async fn list_lots(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Vec<Lot>, StoreError> {
    let lots = sqlx::query_as!(
        Lot,
        r#"select lot_seq as seq, remaining as "remaining: Credits", expires_at from credit_lots where account_id = $1"#,
        account.0
    )
    .fetch_all(executor)
    .await?;
    Ok(lots)
}

/// Puts the lots in the place of those that are there, and tells the balance which one ends first. The balance must be locked.
#[allow(clippy::as_conversions, reason = "sqlx's own way to name the type of an array with nulls")]
pub async fn replace_lots(connection: &mut PgConnection, account: AccountId, lots: &[Lot]) -> Result<(), StoreError> {
    let seqs = lots.iter().map(|lot| lot.seq).collect::<Vec<_>>();
    let remaining = lots.iter().map(|lot| lot.remaining.get()).collect::<Vec<_>>();
    let ends = lots.iter().map(|lot| lot.expires_at).collect::<Vec<_>>();
    sqlx::query!("delete from credit_lots where account_id = $1 and lot_seq <> all($2)", account.0, &seqs)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        r#"
        insert into credit_lots (account_id, lot_seq, remaining, expires_at)
        select $1, lot_seq, remaining, expires_at from unnest($2::bigint[], $3::bigint[], $4::timestamptz[]) as t (lot_seq, remaining, expires_at)
        on conflict (account_id, lot_seq) do update set remaining = excluded.remaining
        "#,
        account.0,
        &seqs,
        &remaining,
        &ends as &[Option<Timestamp>]
    )
    .execute(&mut *connection)
    .await?;
    let next = lots.iter().filter_map(|lot| lot.expires_at).min();
    sqlx::query!("update credit_balances set next_expiry_at = $2 where account_id = $1", account.0, next).execute(connection).await?;
    Ok(())
}

/// Accounts with a lot that is over at `now`, by number, after one of them.
pub async fn list_due(pool: &Pool, after: AccountId, limit: i64, now: Timestamp) -> Result<Vec<AccountId>, StoreError> {
    let accounts = sqlx::query_scalar!(
        r#"select account_id as "account: AccountId" from credit_balances where next_expiry_at <= $1 and account_id > $2 order by account_id limit $3"#,
        now,
        after.0,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(accounts)
}
