//! Addresses that a site's key was used from, other than its own.

use crate::sites::model::HomeUrl;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// Another address that the site's key was used from, while nobody has decided what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UrlConflict {
    /// The address, as it was first sent.
    #[schema(example = "https://staging.example.com")]
    pub url: String,
    /// When it was first used from there.
    pub seen_at: DateTime<Utc>,
}

/// What a plugin is told that runs at another address than its site's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OtherHome {
    /// The site's address.
    #[schema(example = "https://garden.example.com")]
    pub registered_url: String,
    /// The plugin's.
    #[schema(example = "https://staging.example.com")]
    pub home_url: String,
}

crate::words! {
    /// What another address is.
    pub enum Resolution {
        /// The site's new home.
        Move = "move",
        /// A clone, which stays read-only.
        Ignore = "ignore",
    }
}

/// A decision about another address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is.
    pub action: Resolution,
    /// Which address; none: the one that the site shows.
    pub url: HomeUrl,
}
