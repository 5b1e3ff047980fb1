//! Identifiers as types, so that an account is never mistaken for a user, and words as enums, so that a status is never
//! a loose string.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The slugs that belong to system accounts alone (requirements, section 1).
pub const RESERVED_SLUGS: [&str; 3] = ["aws-admin", "default-account", "default"];

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

row_id! {
    /// An account (tenant). Assigned by Postgres; survives the import from the old system.
    AccountId;
    /// A user of at most one account.
    UserId;
    /// A plan.
    PlanId;
    /// An account's one subscription, as clients see it.
    SubscriptionId;
    /// A site of an account.
    SiteId;
    /// A site's API key.
    SiteKeyId;
    /// An industry that sites choose from.
    IndustryId;
    /// A sector of an industry.
    IndustrySectorId;
    /// A sector that a site covers.
    SiteSectorId;
    /// An event that a plugin reported.
    EventId;
    /// An invoice.
    InvoiceId;
    /// A payment.
    PaymentId;
    /// A row of the audit log.
    AuditId;
    /// An order that waits for a second admin.
    ApprovalId;
    /// A bank statement that staff read in.
    StatementId;
    /// An invitation to an account.
    InvitationId;
}

/// A login session; random, so that it can't be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct SessionId(pub uuid::Uuid);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares an enum whose variants are words in the database, in JSON and in the OpenAPI document alike.
///
/// Gives `as_str`, `FromStr`, `Display`, serde, sqlx (as `text`) and `ToSchema`. An unknown word in the database is a
/// decode error, never a default.
#[macro_export]
macro_rules! words {
    ($(#[doc = $doc:literal])* pub enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        // By hand: utoipa's derive doesn't see the words through the macro and would tell the variants' names.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(concat!($($doc,)*).trim()))
                    .enum_values(Some([$($word,)+]))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word that stands in the database and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ids::UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::ids::UnknownWord { word: word.chars().take(64).collect(), expected: &[$($word,)+] }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <str as sqlx::Type<sqlx::Postgres>>::type_info()
            }
            fn compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
                <str as sqlx::Type<sqlx::Postgres>>::compatible(ty)
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                Ok(<&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?.parse()?)
            }
        }

        impl<'q> sqlx::Encode<'q, sqlx::Postgres> for $name {
            fn encode_by_ref(&self, buf: &mut sqlx::postgres::PgArgumentBuffer) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <&str as sqlx::Encode<'q, sqlx::Postgres>>::encode_by_ref(&self.as_str(), buf)
            }
        }
    };
}

/// A word that its enum does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is not one of {}", expected.join(", "))]
pub struct UnknownWord {
    /// What was given, cut to 64 characters.
    pub word: String,
    /// What could have been given.
    pub expected: &'static [&'static str],
}

words! {
    /// How a customer pays.
    pub enum PaymentMethod {
        /// Card payments by Stripe.
        Stripe = "stripe",
        /// PayPal.
        Paypal = "paypal",
        /// A transfer that an admin confirms by hand.
        BankTransfer = "bank_transfer",
    }
}

/// Turns a name into the word that stands in addresses and scripts: `Home & Garden Site` becomes `home-garden-site`.
///
/// At most 48 characters of `[a-z0-9-]`; empty when the name has no letter or digit of ASCII.
pub fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if slug.len() >= 48 {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Characters of a slug at the most.
const SLUG_CHARS_MAX: usize = 64;

/// A word that stands in addresses and scripts: 1 to 64 characters of `a-z`, `0-9` and single dashes between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", max_length = 64, example = "home-garden-site")]
pub struct Slug(String);

/// A text that is no slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use 1 to 64 characters of a-z and 0-9, with single dashes between them")]
pub struct NotASlug;

impl Slug {
    /// Reads a slug as it stands; nothing is changed to make it one.
    pub fn parse(text: &str) -> Result<Self, NotASlug> {
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.len() <= SLUG_CHARS_MAX && text.split('-').all(is_part) { Ok(Slug(text.to_owned())) } else { Err(NotASlug) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Slug::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_read_as_the_database_checks_it() {
        for text in ["a", "home-g8", "0-1-2", &"x".repeat(64)] {
            assert_eq!(Slug::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "-", "-a", "a-", "a--b", "A", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert_eq!(Slug::parse(text), Err(NotASlug), "{text:?}");
        }
    }

    #[test]
    fn a_slug_keeps_letters_and_digits_and_joins_them_by_one_dash() {
        assert_eq!(slug_of("Home & Garden  Site!"), "home-garden-site");
        assert_eq!(slug_of("--"), "");
        assert!(slug_of(&"x".repeat(500)).len() <= 48);
    }

    #[test]
    fn the_document_tells_the_words_and_not_the_variants() {
        let schema = serde_json::to_value(<PaymentMethod as utoipa::PartialSchema>::schema()).unwrap();

        assert_eq!(schema["enum"], serde_json::json!(["stripe", "paypal", "bank_transfer"]));
        assert_eq!(schema["description"], "How a customer pays.");
    }

    #[test]
    fn an_unknown_word_names_what_is_known() {
        let error = "cash".parse::<PaymentMethod>().unwrap_err();
        assert_eq!(error.to_string(), "'cash' is not one of stripe, paypal, bank_transfer");
    }
}
