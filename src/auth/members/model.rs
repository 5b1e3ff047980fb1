//! A user as one of an account's people.

use crate::{
    auth::model::Role,
    ids::{AccountId, UserId},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// One of an account's people.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TeamMember {
    /// His number.
    pub id: UserId,
    /// Canonical address.
    #[schema(example = "ana@example.com")]
    pub email: String,
    /// His name for himself.
    pub username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// What he may do.
    pub role: Role,
    /// False: he is let in no more until it is true again.
    pub is_active: bool,
    /// Whether the address was proven.
    pub email_verified: bool,
    /// When he last signed in.
    pub last_login_at: Option<DateTime<Utc>>,
    /// When he came.
    pub created_at: DateTime<Utc>,
    /// True: the plan has no seat for him, and he may only read. Left out where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_frozen: Option<bool>,
    /// How many of the account's people come before him: its owners, and who came earlier; counted up to a thousand.
    #[serde(skip)]
    pub seniors: i64,
}

/// A deletion that can be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    /// Who deletes.
    pub by: UserId,
    /// From then on it can't be taken back.
    pub restore_until: DateTime<Utc>,
}

/// One whose time to come back is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purgeable {
    /// He.
    pub user: UserId,
    /// His account.
    pub account: Option<AccountId>,
}
