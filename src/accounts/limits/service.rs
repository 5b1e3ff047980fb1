//! One transaction: the change and its row in the audit log.

use super::{
    model::{AccountLimits, OwnFactor},
    store,
};
use crate::{
    accounts::life::AccountError,
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::AccountId,
};
use serde_json::json;

/// Gives an account limits of its own, or its plan's again. Holds from the next request on, in every instance: the gate
/// reads them with the caller.
///
/// # Errors
///
/// No such living account, or the database.
pub async fn change(
    pool: &Pool,
    account: AccountId,
    (own, reason): (OwnFactor, &str),
    origin: &Origin,
    now: Timestamp,
) -> Result<AccountLimits, AccountError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let before = store::lock_limits(&mut tx, account).await?.ok_or(AccountError::NotFound)?;
        store::mark_limits(&mut tx, account, own, now).await?;
        let entry = Entry {
            account: Some(account),
            action: "account.throttle_changed",
            target: format!("account:{account}"),
            before: json!(before.own),
            after: json!(own),
            reason: Some(reason.to_owned()),
            at: now,
        };
        record_in(&mut tx, origin, &entry).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(AccountLimits { own, ..before })
    })
    .await
}
