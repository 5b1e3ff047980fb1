//! Who manages people, and what he asks for.

use crate::{
    audit::model::Origin,
    auth::model::Role,
    ids::{AccountId, UserId},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// Somebody who manages an account's people.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// The account.
    pub account: AccountId,
    /// He.
    pub user: UserId,
    /// His role when the request came.
    pub role: Role,
    /// Whether he belongs to the account or is staff who acts on it.
    pub belongs: Belongs,
    /// For the audit log.
    pub origin: &'a Origin,
}

/// Whether somebody belongs to the account that he acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// One of its people.
    Here,
    /// A developer who named it.
    Elsewhere,
}

/// What to change of somebody; what is unset stays.
#[derive(Clone, Debug, Default)]
pub struct PersonChange {
    /// Another role.
    pub role: Option<Role>,
    /// Whether he is let in.
    pub is_active: Option<bool>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
}

/// Somebody who was deleted and can still come back.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct DeletedPerson {
    /// His number.
    pub id: UserId,
    /// From then on he can't come back.
    pub restore_until: DateTime<Utc>,
}
