//! Second factors, and what is shown of one.

use crate::{
    auth::model::Email,
    ids::{AccountId, UserId},
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

/// Longest code that is read, in characters; a recovery code has nineteen.
const CODE_CHARS_MAX: usize = 32;

/// A code as somebody typed it: of his app, or a recovery code. Blanks and hyphens don't count, nor does the case.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, format = "password", example = "492039")]
pub struct SecondCode(pub SecretString);

impl<'de> Deserialize<'de> for SecondCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let code = text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_CHARS_MAX + 1).collect::<String>();
        match code.chars().count() {
            0 => Err(D::Error::custom("this may not be empty")),
            count if count > CODE_CHARS_MAX => Err(D::Error::custom(format!("use at most {CODE_CHARS_MAX} characters"))),
            _ => Ok(SecondCode(SecretString::from(code.to_ascii_uppercase()))),
        }
    }
}

/// A second factor, as it is stored.
#[derive(Clone, Debug)]
pub struct SecondFactor {
    /// Its secret, sealed for its user.
    pub sealed_secret: Vec<u8>,
    /// Whether a first code has proven that the app has it.
    pub is_active: bool,
    /// The newest step whose code was used.
    pub last_step: i64,
}

/// A second factor, as its owner sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FactorView {
    /// Whether it is asked for at the login.
    pub is_active: bool,
    /// Since when.
    pub activated_at: Option<DateTime<Utc>>,
    /// Recovery codes that were not used.
    pub recovery_codes_left: i64,
}

/// Somebody who is signed in and means to change his second factor.
#[derive(Clone, Debug)]
pub struct Asker {
    /// He.
    pub user: UserId,
    /// His address.
    pub email: Email,
    /// The account that he belongs to.
    pub account: Option<AccountId>,
}

/// What an app is given. Shown once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Enrollment {
    /// The secret in base 32, to be typed.
    pub secret: String,
    /// The same as an address, to be shown as a QR code.
    #[schema(example = "otpauth://totp/IGNY8:ana%40example.com?secret=…&issuer=IGNY8")]
    pub otpauth_uri: String,
}

/// What opens the door when the app is lost. Shown once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each works once.
    pub recovery_codes: Vec<String>,
}
