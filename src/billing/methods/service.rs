//! What a customer is offered, and how a developer changes it.

use super::{
    model::{MethodSettings, PaymentOption},
    rules, store,
};
use crate::{
    accounts,
    audit::{
        self,
        model::{Entry, Origin},
    },
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, PaymentMethod},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Why a way to pay was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// There is none of that word.
    #[error("no such payment method")]
    NotFound,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an account is offered, with the bank details of its billing country.
pub async fn offered_in(connection: &mut PgConnection, account: AccountId) -> Result<Vec<PaymentOption>, StoreError> {
    let found = accounts::store::find_details(&mut *connection, account).await?;
    let country = found.and_then(|found| rules::country_of(&found.details.billing_address));
    store::list_options(connection, &rules::served_by(country.as_deref())).await
}

/// What a developer changes of a way to pay; nothing given, nothing changed.
#[derive(Debug)]
pub struct Edit {
    /// Only for this country's customers; unset: for everybody who has nothing of his own.
    pub country: Option<String>,
    /// Its name; the same in all countries.
    pub name: Option<String>,
    /// Where the money goes.
    pub details: Option<Value>,
    /// What to do.
    pub instructions: Option<String>,
    /// Whether it is on offer; the same in all countries.
    pub is_active: Option<bool>,
    /// For the log.
    pub reason: String,
}

/// Changes a way to pay and records it. Gives it as it is now. Invoices keep what was printed on them.
pub async fn change(
    pool: &Pool,
    method: PaymentMethod,
    edit: &Edit,
    origin: &Origin,
    now: Timestamp,
) -> Result<MethodSettings, MethodError> {
    let mut tx = db::begin(pool).await?;
    if !store::lock_method(&mut tx, method).await? {
        return Err(MethodError::NotFound);
    }
    let before = settings_in(&mut tx, method).await?;
    let (details, instructions) = (edit.details.as_ref(), edit.instructions.as_deref());
    match &edit.country {
        None => store::mark_method(&mut tx, method, (edit.name.as_deref(), details, instructions, edit.is_active), now).await?,
        Some(country) => {
            store::mark_method(&mut tx, method, (edit.name.as_deref(), None, None, edit.is_active), now).await?;
            if details.is_some() || instructions.is_some() {
                store::put_country(&mut tx, method, country, (details, instructions), now).await?;
            }
        }
    }
    let after = settings_in(&mut tx, method).await?;
    if before == after {
        return Ok(after);
    }
    let entry = Entry {
        account: None,
        action: "payment_method.changed",
        target: format!("payment_method:{method}"),
        before: json!(before),
        after: json!(after),
        reason: Some(edit.reason.clone()),
        at: now,
    };
    audit::service::record_in(&mut tx, origin, &entry).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(after)
}

async fn settings_in(connection: &mut PgConnection, method: PaymentMethod) -> Result<MethodSettings, MethodError> {
    store::list_settings(connection).await?.into_iter().find(|settings| settings.method == method).ok_or(MethodError::NotFound)
}
