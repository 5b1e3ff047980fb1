//! Idempotency keys of what moves money: one key, one effect, over all routes, those of spends included.

use super::service::BillingError;
use crate::{
    clock::Timestamp,
    credits,
    idempotency::{
        self,
        model::{FirstAnswer, Keyed},
        service::KeyError,
    },
    ids::AccountId,
};
use serde_json::Value;
use sqlx::PgConnection;

/// The first answer, when this request was answered before.
pub(super) async fn recall_in(
    connection: &mut PgConnection,
    account: AccountId,
    key: Option<&Keyed>,
) -> Result<Option<Value>, BillingError> {
    let Some(keyed) = key else { return Ok(None) };
    let first = idempotency::service::recall_in(connection, account, keyed).await?;
    // Spends keep their keys in the ledger itself; one that was used for a spend is used.
    if first.is_none() && credits::store::is_key_used(connection, account, &keyed.key).await? {
        return Err(KeyError::Reused.into());
    }
    Ok(first.map(|first| first.answer))
}

/// Keeps the answer in the transaction of its effect, at its end: what a spend waits for from then on is locked no longer than needed.
pub(super) async fn remember_in(
    connection: &mut PgConnection,
    account: AccountId,
    key: Option<&Keyed>,
    (status, answer): (i16, &Value),
    now: Timestamp,
) -> Result<(), BillingError> {
    let Some(keyed) = key else { return Ok(()) };
    let first = FirstAnswer { status, answer: answer.clone() };
    // Spends don't wait for this transaction, and it did not see those that were under way. From here on they do: one that comes
    // after this finds another authority, and then the key; one that came before is found here.
    credits::store::renew_authority(connection, account).await?;
    if credits::store::is_key_used(connection, account, &keyed.key).await? {
        return Err(KeyError::Reused.into());
    }
    Ok(idempotency::service::remember_in(connection, account, keyed, &first, now).await?)
}
