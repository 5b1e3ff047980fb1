//! Extensions, each one transaction.

use super::{
    model::TrialExtension,
    rules::{self, NotExtended},
    store,
};
use crate::{
    accounts,
    audit::model::Origin,
    billing::{
        keys::{recall_in, remember_in},
        model::{Confirmed, Run},
        service::{BillingError, end, record_in, written},
    },
    clock::Timestamp,
    db,
    db::Pool,
    idempotency::model::Keyed,
    ids::AccountId,
};
use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// How much longer, why, and whether it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Extension<'a> {
    /// From 1.
    pub days: u16,
    /// Why.
    pub reason: &'a str,
    /// Whether anything is to be kept.
    pub run: Run,
}

/// Makes a running trial longer (requirements, section 1), by staff's hand.
pub async fn extend(
    pool: &Pool,
    account: AccountId,
    by: Extension<'_>,
    key: Option<&Keyed>,
    (grace, origin): (TimeDelta, &Origin),
    now: Timestamp,
) -> Result<(Confirmed, bool), BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some(first) = recall_in(&mut tx, account, key).await? {
            return Ok((Confirmed::of(first), true));
        }
        let extended = extend_in(&mut tx, account, by, (grace, origin), now).await?;
        remember_in(&mut tx, account, key, (200, &extended.value()), now).await?;
        end(tx, by.run).await?;
        Ok((extended, false))
    })
    .await
}

async fn extend_in(
    connection: &mut PgConnection,
    account: AccountId,
    by: Extension<'_>,
    (grace, origin): (TimeDelta, &Origin),
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let held = accounts::life::hold_in(connection, account, grace, now).await?;
    let trial = held.subscription.as_ref().map(|locked| &locked.subscription).ok_or(NotExtended::NotOnTrial)?;
    let (before, after) = (trial.period(), rules::extended(trial.status, trial.period(), by.days, now)?);
    if !store::mark_extended(connection, account, (before, after), now).await? {
        return Err(NotExtended::NotOnTrial.into());
    }
    let change = (json!({"current_period_end": before.ends_at}), json!({"current_period_end": after.ends_at, "days": by.days}));
    let (target, because) = (format!("account:{account}"), Some(by.reason.to_owned()));
    record_in(connection, account, "trial.extended", target, change, because, origin, now).await?;
    let prefix = by.run.prefix();
    let (slug, until) = (&held.row.slug, after.ends_at.format("%Y-%m-%d"));
    let data = TrialExtension {
        account_id: account,
        status: held.standing.account,
        ends_at: after.ends_at,
        changes: BTreeMap::from([("subscription.current_period_end", [json!(before.ends_at), json!(after.ends_at)])]),
        dry_run: by.run == Run::Dry,
    };
    let message = format!("{prefix}The trial of {slug} (account {account}) is {} days longer and ends on {until}.", by.days);
    Ok(Confirmed { data: written(&data)?, message })
}
