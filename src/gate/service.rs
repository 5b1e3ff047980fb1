//! Looks up who calls by key, and asks the gate.

use super::{
    model::{Principal, SiteCaller},
    rules::{self, Refusal},
};
use crate::{clock::Timestamp, db::StoreError};
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

/// The site behind a key.
pub async fn site_of_key(_pool: &PgPool, _key: &str, _grace: TimeDelta, _now: Timestamp) -> Result<SiteCaller, KeyRefused> {
    Err(KeyRefused::Unknown) // STUB: P2
}

/// Whether the caller may act now: rule E for everybody, and a site must be switched on besides.
pub fn admit(principal: &Principal) -> Result<(), NotAdmitted> {
    rules::admit(principal.account())?;
    match principal {
        Principal::Site(site) if !site.site_is_active => Err(NotAdmitted::SiteInactive),
        Principal::Site(_) | Principal::Person(_) => Ok(()),
    }
}
