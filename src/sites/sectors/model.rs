//! A sector that a site covers.

use crate::{
    ids::SiteSectorId,
    sites::industries::model::{IndustrySector, Named},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A sector of a site, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SiteSector {
    /// Its number.
    pub id: SiteSectorId,
    /// What it is called.
    #[schema(example = "Furniture")]
    pub name: String,
    /// The sector of the site's industry that it is; null: a name of the customer's own.
    pub industry_sector: Option<IndustrySector>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

/// A sector to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewSector {
    /// One of the site's industry.
    OfIndustry(Named),
    /// A name of the customer's own.
    Own(String),
}

/// A sector that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeletedSector {
    /// Its number.
    pub id: SiteSectorId,
}
