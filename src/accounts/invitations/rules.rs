//! What an acceptance says, and how long an invitation waits for it.

use crate::auth::passwords::NewPassword;
use chrono::TimeDelta;

/// So long an invitation can be accepted.
pub const LIFE: TimeDelta = TimeDelta::days(7);

/// Somebody who accepts.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// From the mail.
    pub token: String,
    /// His password from now on.
    pub password: NewPassword,
    /// His name for himself; unset: what stands before the `@`.
    pub username: Option<String>,
    /// Given name, or nothing.
    pub first_name: String,
    /// Family name, or nothing.
    pub last_name: String,
}
