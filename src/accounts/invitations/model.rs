//! What an invitation is.

use crate::{
    auth::model::{Email, Role},
    ids::{AccountId, InvitationId, UserId},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// An invitation that nobody has accepted or revoked.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Invitation {
    /// Its number.
    pub id: InvitationId,
    /// To whom it was sent.
    #[schema(example = "ben@example.com")]
    pub email: String,
    /// What he will be.
    pub role: Role,
    /// Who invited.
    pub invited_by: UserId,
    /// When it was first sent.
    pub created_at: DateTime<Utc>,
    /// When it was last sent.
    pub sent_at: DateTime<Utc>,
    /// Until then it can be accepted, and keeps a seat.
    pub expires_at: DateTime<Utc>,
    /// Whether that time is over; it can be sent again.
    pub is_expired: bool,
}

/// An invitation that is about to exist.
#[derive(Clone, Copy, Debug)]
pub struct NewInvitation<'a> {
    /// The account.
    pub account: AccountId,
    /// To whom.
    pub email: &'a Email,
    /// What he will be.
    pub role: Role,
    /// Who invites.
    pub invited_by: UserId,
    /// SHA-256 of the token.
    pub token_sha256: [u8; 32],
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
}

/// An invitation, found by its token.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its number.
    pub id: InvitationId,
    /// Into which account.
    pub account: AccountId,
    /// To whom it was sent.
    pub email: String,
    /// What he will be.
    pub role: Role,
}
