//! Who somebody is: roles, addresses, sessions, tokens.

use crate::{
    clock::Timestamp,
    ids::{AccountId, SessionId, UserId},
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use unicode_normalization::UnicodeNormalization as _;
use utoipa::ToSchema;

crate::words! {
    /// What somebody may do in his account (requirements, section 1), weakest first.
    pub enum Role {
        /// Reads.
        Viewer = "viewer",
        /// Creates and edits content.
        Editor = "editor",
        /// Manages content, sees billing.
        Admin = "admin",
        /// Controls the whole account.
        Owner = "owner",
        /// Platform staff, across accounts.
        Developer = "developer",
        /// Automation only; never logs in with a password.
        SystemBot = "system_bot",
    }
}

impl Role {
    /// Whether this role includes the other one. Automation counts as an editor.
    pub fn includes(self, needed: Role) -> bool {
        self.rank() >= needed.rank() && (needed != Role::SystemBot || self == Role::SystemBot)
    }

    /// Whether his seat is his whatever the plan has room for: who controls the account must be able to make room.
    pub fn keeps_seat(self) -> bool {
        self.includes(Role::Owner)
    }

    /// The order of the roles; automation stands beside the editor.
    pub fn rank(self) -> u8 {
        match self {
            Role::Viewer => 0,
            Role::Editor | Role::SystemBot => 1,
            Role::Admin => 2,
            Role::Owner => 3,
            Role::Developer => 4,
        }
    }
}

/// An e-mail address in canonical form: NFKC, trimmed, lower case; two spellings of one address are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "email", example = "ana@example.com")]
pub struct Email(String);

/// A text that is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("enter a valid email address")]
pub struct NotAnEmail;

impl Email {
    /// Reads an address: one `@`, a name before it, a host with a dot after it, at most 254 bytes.
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let canonical: String = text.trim().nfkc().collect::<String>().to_lowercase().trim().to_owned();
        let (local, domain) = canonical.rsplit_once('@').ok_or(NotAnEmail)?;
        let label = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        let local_is_sane = !local.is_empty()
            && local.len() <= 64
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.chars().all(|c| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c));
        let sane = canonical.len() <= 254 && local_is_sane && domain.contains('.') && domain.split('.').all(label);
        if sane { Ok(Email(canonical)) } else { Err(NotAnEmail) }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or("")
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Email::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A password as it was typed, at most 1,024 bytes; never shown, never logged.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, format = "password", example = "correct horse battery")]
pub struct Password(pub SecretString);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(D::Error::custom("this may not be empty"));
        }
        if text.len() > 1_024 {
            return Err(D::Error::custom("use at most 128 characters"));
        }
        Ok(Password(SecretString::from(text)))
    }
}

crate::words! {
    /// What a token is for; one kind is never taken for the other.
    pub enum TokenType {
        /// Opens the API for an hour.
        Access = "access",
        /// Buys a new pair.
        Refresh = "refresh",
    }
}

/// What a token says (contract, section 2). Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Whose it is.
    pub user_id: UserId,
    /// His account when it was issued.
    pub account_id: Option<AccountId>,
    /// His role when it was issued; the present one is judged.
    pub role: Role,
    /// Access or refresh.
    pub token_type: TokenType,
    /// Issued at.
    pub iat: i64,
    /// Expires at.
    pub exp: i64,
    /// The token's own id.
    pub jti: uuid::Uuid,
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// The login session.
    pub sid: SessionId,
}

/// A fresh pair of tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenPair {
    /// For the `Authorization` header.
    pub access: String,
    /// For `auth/refresh/`, once.
    pub refresh: String,
    /// When `access` stops working.
    pub access_expires_at: DateTime<Utc>,
    /// When `refresh` stops working.
    pub refresh_expires_at: DateTime<Utc>,
}

/// A line of text of at most `MAX` characters after trimming, empty or not, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Line<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Line<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.trim().to_owned();
        if text.chars().count() > MAX {
            return Err(D::Error::custom(format!("use at most {MAX} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(D::Error::custom("control characters can't be used here"));
        }
        Ok(Line(text))
    }
}

impl<const MAX: usize> Line<MAX> {
    /// The text, unless it is empty.
    pub fn filled(self) -> Option<String> {
        Some(self.0).filter(|text| !text.is_empty())
    }
}

/// How much work one password hash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingCost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl HashingCost {
    /// What production uses; one lane.
    pub const PRODUCTION: HashingCost = HashingCost { memory_kib: 19_456, passes: 2 };
    /// The least that the algorithm takes: for tests, which hash a lot and keep nothing.
    pub const TESTS: HashingCost = HashingCost { memory_kib: 8, passes: 1 };
}

/// How long a login lasts: without being used, and at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Seven days; thirty at the most.
    Usual,
    /// Twenty days, ninety at the most: "remember me".
    Remembered,
}

/// How long a session may go on: by its kind, and from when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its kind.
    pub stay: Stay,
    /// When somebody proved by password who he is.
    pub started_at: Timestamp,
}

/// Where a session was started, so that its owner recognises it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The client's address.
    pub client_address: String,
    /// The program, as it names itself; at most 400 characters.
    pub user_agent: String,
}

impl Device {
    /// Cuts what is too long to be kept.
    pub fn new(client_address: Option<&str>, user_agent: &str) -> Self {
        let cut = |text: &str, chars_max: usize| text.chars().take(chars_max).collect();
        Device { client_address: cut(client_address.unwrap_or(""), 64), user_agent: cut(user_agent, 400) }
    }
}

/// What a new session is to be like.
#[derive(Clone, Debug)]
pub struct Visit {
    /// How long it lasts.
    pub stay: Stay,
    /// Where it was started.
    pub device: Device,
}

/// Whom a token is issued to, as he stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// He.
    pub user: UserId,
    /// His account.
    pub account: Option<AccountId>,
    /// His role.
    pub role: Role,
}

/// A session that was just started.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Its first tokens.
    pub tokens: TokenPair,
}

/// A login session, as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// To end it by.
    pub id: SessionId,
    /// Whether this request came by it.
    pub is_current: bool,
    /// Whether it was asked to last longer.
    pub remember_me: bool,
    /// The address it was started from.
    pub client_address: String,
    /// The program, as it named itself.
    pub user_agent: String,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it was last used to get new tokens.
    pub last_refreshed_at: DateTime<Utc>,
    /// When it ends unless it is used.
    pub expires_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests;
