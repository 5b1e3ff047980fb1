//! Moves an account's money, always inside the caller's transaction and under its lock on the account.

use super::{
    model::{Cause, Direction, Kept},
    store,
};
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::AccountId,
    money::{Money, MoneyError},
};
use sqlx::PgConnection;

/// Why money did not move.
#[derive(Debug, thiserror::Error)]
pub enum BalanceError {
    /// The balance would go below nothing: an invoice has taken the money since.
    #[error("the money was used")]
    Used,
    /// The balance would be more than the database holds.
    #[error("the balance would leave its limits")]
    OutOfRange,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Moves the balance and writes the entry that explains it. Nothing moves nothing.
pub async fn move_in(
    connection: &mut PgConnection,
    account: AccountId,
    kept: Kept,
    (cause, direction, amount): (Cause, Direction, Money),
    now: Timestamp,
) -> Result<Kept, BalanceError> {
    if amount.is_zero() {
        return Ok(kept);
    }
    let (balance, signed) = match direction {
        Direction::In => (kept.balance.plus(amount).map_err(|_: MoneyError| BalanceError::OutOfRange)?, amount.decimal()),
        Direction::Out => (kept.balance.minus(amount).map_err(|_: MoneyError| BalanceError::Used)?, -amount.decimal()),
    };
    let after = Kept { balance, last_seq: kept.last_seq + 1 };
    store::append_entry(connection, account, (cause, signed), after, now).await?;
    Ok(after)
}
