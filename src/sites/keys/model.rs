//! A key, as it is shown, and what a site learns by it.

use crate::{
    accounts::model::AccountStatus,
    ids::{SiteId, SiteKeyId},
    money::Credits,
    plans::model::Plan,
    sites::clones::model::OtherHome,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use utoipa::ToSchema;

crate::words! {
    /// What a key opens.
    pub enum KeyScope {
        /// Seeing the site, its events and the balance.
        Read = "read",
        /// Asking for prices and spending credits.
        Credits = "credits",
        /// Reporting events.
        Events = "events",
    }
}

impl PgHasArrayType for KeyScope {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

/// A site's key, as it is shown ever after; the key itself is not kept.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SiteKeyView {
    /// Its number.
    pub id: SiteKeyId,
    /// Its last four characters, to tell keys apart.
    #[schema(example = "9f3a")]
    pub last_four: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working; null: not by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// What it opens.
    pub scopes: Vec<KeyScope>,
}

/// How a key is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOrder {
    /// What it is to open.
    pub scopes: Vec<KeyScope>,
    /// Minutes that the newest of the old keys lives on; 0: it stops at once.
    pub overlap_minutes: i32,
}

/// A fresh key: the only answer that ever shows it.
// Without Debug, so that no log line can.
#[derive(Serialize, ToSchema)]
pub struct NewSiteKey {
    /// The key; copy it now.
    #[schema(example = "igny8_…")]
    pub key: String,
    /// What stays visible of it.
    #[serde(flatten)]
    pub view: SiteKeyView,
}

/// How many keys a revocation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RevokedKeys {
    /// Keys that worked until now.
    pub revoked: i64,
}

/// What a site learns of itself and its account by its key.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KeyVerification {
    /// Always true: a key that is not valid gets an error.
    #[schema(example = true)]
    pub valid: bool,
    /// The key's site.
    pub site: VerifiedSite,
    /// The site's account.
    pub account: VerifiedAccount,
    /// What the account has, both pools together.
    pub credits: Credits,
    /// What the plan allows.
    pub limits: SiteLimits,
    /// What the key opens.
    pub scopes: Vec<KeyScope>,
    /// Set when the plugin runs at another address than the registered one: it may only read until an owner resolves it.
    pub url_conflict: Option<OtherHome>,
    /// The server's time, so that a plugin can tell how wrong its own clock is.
    pub server_time: DateTime<Utc>,
}

/// A site, as its own plugin sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VerifiedSite {
    /// Its number.
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// Its word.
    pub slug: String,
    /// Its home address.
    pub url: Option<String>,
}

/// An account, as a site's plugin sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VerifiedAccount {
    /// How it stands now.
    pub status: AccountStatus,
    /// What it may use.
    pub plan: Option<Plan>,
}

/// What a plan allows a site's plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SiteLimits {
    /// Live sites at the most.
    pub max_sites: i32,
    /// Sectors per site at the most.
    pub max_sectors: i32,
    /// Credits a month.
    pub credits_per_month: Credits,
}
