//! Asks, before an effect, whether it was done already; keeps, after it, what was answered.

use super::{
    model::{FirstAnswer, Keyed},
    store,
};
use crate::{clock::Timestamp, db::StoreError, ids::AccountId};
use sqlx::PgConnection;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key came with other input before.
    #[error("the idempotency key was used with other input")]
    Reused,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The first answer, when this request was answered before. Holds back every other request with the key until the
/// caller's transaction ends.
pub async fn recall_in(connection: &mut PgConnection, account: AccountId, keyed: &Keyed) -> Result<Option<FirstAnswer>, KeyError> {
    store::lock_key(connection, account, &keyed.key).await?;
    match store::find_key(connection, account, &keyed.key).await? {
        None => Ok(None),
        Some(stored) if crate::secrets::same(&stored.input_hash, &keyed.input_hash) => Ok(Some(stored.first)),
        Some(_) => Err(KeyError::Reused),
    }
}

/// Keeps the first answer in the transaction of its effect.
///
/// # Errors
///
/// [`KeyError::Reused`] where the key has an answer by now, from a route that waits for no other: then nothing of the transaction
/// may be committed.
pub async fn remember_in(
    connection: &mut PgConnection,
    account: AccountId,
    keyed: &Keyed,
    first: &FirstAnswer,
    now: Timestamp,
) -> Result<(), KeyError> {
    if store::insert_key(connection, account, keyed, first, now).await? { Ok(()) } else { Err(KeyError::Reused) }
}
