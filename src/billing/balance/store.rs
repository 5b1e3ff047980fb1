//! SQL of balances and their ledger.

use super::model::{Cause, Kept};
use crate::{
    billing::store::money,
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, InvoiceId},
    money::Money,
};
use rust_decimal::Decimal;
use sqlx::PgConnection;

/// Locks an account's balance, opened at nothing where it has none yet. The account is locked before it.
pub async fn lock_balance(connection: &mut PgConnection, account: AccountId) -> Result<Kept, StoreError> {
    sqlx::query!(
        "insert into account_money (account_id, balance, last_seq) values ($1, 0, 0) on conflict (account_id) do nothing",
        account.0
    )
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query!("select balance, last_seq from account_money where account_id = $1 for update", account.0)
        .fetch_one(connection)
        .await?;
    Ok(Kept { balance: money(row.balance)?, last_seq: row.last_seq })
}

/// Moves the balance and writes the entry that explains it, in one statement. The balance must be locked.
pub async fn append_entry(
    connection: &mut PgConnection,
    account: AccountId,
    (cause, signed): (Cause, Decimal),
    after: Kept,
    now: Timestamp,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        r#"
        with moved as (
            update account_money set balance = $2::numeric, last_seq = $3::bigint where account_id = $1 and last_seq = $3::bigint - 1
            returning account_id
        )
        insert into account_money_entries (account_id, seq, kind, amount, balance_after, payment_id, invoice_id, created_at)
        select account_id, $3::bigint, $4, $5, $2::numeric, $6, $7, $8 from moved
        "#,
        account.0,
        after.balance.decimal(),
        after.last_seq,
        cause.as_str(),
        signed,
        cause.payment().map(|payment| payment.0),
        cause.invoice().map(|invoice| invoice.0),
        now
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// What an admin let go of an invoice, undone waivers taken off.
pub async fn waived(connection: &mut PgConnection, account: AccountId, invoice: InvoiceId) -> Result<Money, StoreError> {
    let sum = sqlx::query_scalar!(
        r#"select coalesce(sum(amount), 0) as "sum!" from account_money_entries where account_id = $1 and invoice_id = $2 and kind = 'waiver'"#,
        account.0,
        invoice.0
    )
    .fetch_one(connection)
    .await?;
    Ok(money(sum)?)
}
