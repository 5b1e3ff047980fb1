//! People, as the room keeps them.

use crate::{
    auth::model::{Email, Holder, Role},
    ids::AccountId,
};
use chrono::{DateTime, Utc};

/// A user who is about to exist.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// His account.
    pub account: AccountId,
    /// His address.
    pub email: Email,
    /// His name for himself.
    pub username: String,
    /// Given name, or nothing.
    pub first_name: String,
    /// Family name, or nothing.
    pub last_name: String,
    /// What he may do.
    pub role: Role,
    /// Whether the old system's flag is set; grants nothing beyond the role.
    pub is_superuser: bool,
    /// When his address was proven.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// His password, hashed.
    pub password_hash: String,
}

/// What a user changes of himself; nothing given, nothing changed.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// His name for himself.
    pub username: Option<String>,
}

/// A living user with what is stored of his password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// He.
    pub holder: Holder,
    /// Argon2id, an old hash, or `!`.
    pub password_hash: String,
    /// Whether staff let him in.
    pub is_active: bool,
}
