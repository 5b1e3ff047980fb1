//! Industries with their sectors, and how a client names one.

use crate::ids::{IndustryId, IndustrySectorId, Slug};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

/// An industry, as a site shows the one that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IndustryWord {
    /// Its number.
    pub id: IndustryId,
    /// Its word.
    #[schema(example = "home-garden")]
    pub slug: String,
    /// Its name.
    #[schema(example = "Home & Garden")]
    pub name: String,
}

/// A sector of an industry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IndustrySector {
    /// Its number.
    pub id: IndustrySectorId,
    /// Its word, unique within the industry.
    #[schema(example = "furniture")]
    pub slug: String,
    /// Its name.
    #[schema(example = "Furniture")]
    pub name: String,
}

/// An industry with its sectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Industry {
    /// The industry.
    #[serde(flatten)]
    pub word: IndustryWord,
    /// All of its sectors.
    pub sectors: Vec<IndustrySector>,
}

/// What a client calls an industry or a sector by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = "home-garden")]
pub enum Named {
    /// Its number, as a number or as its digits.
    Number(i64),
    /// Its word.
    Word(Slug),
}

impl Named {
    /// The number and the word, of which one is there, as a query takes them.
    pub fn parts(&self) -> (Option<i64>, Option<&str>) {
        match self {
            Named::Number(number) => (Some(*number), None),
            Named::Word(slug) => (None, Some(slug.as_str())),
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Sent {
            Number(i64),
            Text(String),
        }
        let refused = || D::Error::custom("give its number or its slug");
        match Sent::deserialize(deserializer).map_err(|_| refused())? {
            Sent::Number(number) => Ok(Named::Number(number)),
            Sent::Text(text) => match text.parse() {
                Ok(number) => Ok(Named::Number(number)),
                Err(_) => Slug::parse(&text).map(Named::Word).map_err(|_| refused()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_number_its_digits_or_a_slug() {
        let read = |text: &str| serde_json::from_str::<Named>(text).map_err(|error| error.to_string());

        assert_eq!((read("7").unwrap(), read("\"7\"").unwrap()), (Named::Number(7), Named::Number(7)));
        assert_eq!(read("\"home-garden\"").unwrap(), Named::Word(Slug::parse("home-garden").unwrap()));
        for text in ["\"\"", "\"Home & Garden\"", "1.5", "true", "[]", "\"99999999999999999999 \""] {
            assert!(read(text).unwrap_err().starts_with("give its number or its slug"), "{text}");
        }
    }
}
