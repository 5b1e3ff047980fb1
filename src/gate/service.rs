//! Looks up who calls by key, and asks the gate.

use super::{
    model::{Principal, SiteCaller},
    rules::{self, KeyWorth, Refusal},
    store,
};
use crate::{clock::Timestamp, db::StoreError, secrets};
use chrono::TimeDelta;
use sqlx::PgPool;

/// Why a site key opens nothing (contract, section 2).
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    /// No key of ours.
    #[error("no such key")]
    Unknown,
    /// It was, until it was revoked or replaced.
    #[error("the key was revoked")]
    Revoked,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a caller may not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The account may not (rule E).
    #[error(transparent)]
    Account(#[from] Refusal),
    /// The site is switched off.
    #[error("the site is inactive")]
    SiteInactive,
}

/// The site behind a key, with its account as it stands at `now`. One query, and none for what can't be a key.
pub async fn site_of_key(pool: &PgPool, key: &str, grace: TimeDelta, now: Timestamp) -> Result<SiteCaller, KeyRefused> {
    if !rules::may_be_a_key(key) {
        return Err(KeyRefused::Unknown);
    }
    let found = store::find_site_of_key_hash(pool, &secrets::sha256(key), grace, now).await?.ok_or(KeyRefused::Unknown)?;
    match rules::worth(&found, now) {
        KeyWorth::Unknown => Err(KeyRefused::Unknown),
        KeyWorth::Revoked => Err(KeyRefused::Revoked),
        KeyWorth::Valid => {
            if rules::use_is_to_be_noted(found.last_used_at, now) {
                note_use(pool.clone(), found.caller.clone(), now);
            }
            Ok(found.caller)
        }
    }
}

/// Notes that a key was used, in a task of its own.
///
/// Not in the lookup's statement: a write there would make the request wait for the disk, and requests with one key for
/// each other. A note that is lost, by a crash or a busy database, is written by the next request: no answer depends on it.
fn note_use(pool: PgPool, caller: SiteCaller, now: Timestamp) {
    tokio::spawn(async move {
        if let Err(error) = store::mark_key_used(&pool, caller.account.id, caller.key, now - rules::KEY_USE_NOTED_EVERY, now).await {
            tracing::warn!(key = caller.key.0, %error, "the use of a site key was not noted");
        }
    });
}

/// Whether the caller may act now: rule E for everybody, and a site must be switched on besides.
pub fn admit(principal: &Principal) -> Result<(), NotAdmitted> {
    rules::admit(principal.account())?;
    match principal {
        Principal::Site(site) if !site.site_is_active => Err(NotAdmitted::SiteInactive),
        Principal::Site(_) | Principal::Person(_) => Ok(()),
    }
}
