//! Tokens that come by mail.

use crate::{
    clock::Timestamp,
    ids::{AccountId, UserId},
};

crate::words! {
    /// What a token that comes by mail is good for; one kind is never taken for the other.
    pub enum Purpose {
        /// Another password.
        PasswordReset = "password_reset",
        /// The address is his.
        VerifyEmail = "verify_email",
        /// The address that it was sent to becomes his.
        ChangeEmail = "change_email",
    }
}

/// A token that is about to be written down. The token itself goes into the mail only.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose it is; nobody's for an unknown address.
    pub user: Option<UserId>,
    /// The address that it goes to.
    pub email: &'a str,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Whom a token was sent to, if it is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// He.
    pub user: UserId,
    /// His account.
    pub account: Option<AccountId>,
    /// The address that it went to: still his, or his from now on.
    pub email: String,
}
