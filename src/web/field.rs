//! Kinds of fields that bodies share: numbers and times within limits, and changes that may also clear.

use super::extract::Fields;
use crate::clock::Timestamp;
use chrono::{Datelike as _, NaiveDate};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Whole<const MIN: i32, const MAX: i32>(pub i32);

impl<'de, const MIN: i32, const MAX: i32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let refused = || D::Error::custom(format!("give a whole number from {MIN} to {MAX}"));
        // As i64, so that a number just beyond i32 gets our sentence and not serde's.
        let number = i64::deserialize(deserializer).map_err(|_| refused())?;
        i32::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number)).map(Whole).ok_or_else(refused)
    }
}

impl<const MIN: i32, const MAX: i32> PartialSchema for Whole<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(MIN)).maximum(Some(MAX)).into()
    }
}

impl<const MIN: i32, const MAX: i32> ToSchema for Whole<MIN, MAX> {
    /// With the limits in it: each pair of limits is a schema of its own.
    fn name() -> Cow<'static, str> {
        format!("Whole_{MIN}_{MAX}").into()
    }
}

/// Years that a client can mean, and that every database and language can hold.
fn is_usual(year: i32) -> bool {
    (1900..=2999).contains(&year)
}

/// An instant of the years 1900 to 2999, in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = DateTime, example = "2026-03-01T00:00:00Z")]
pub struct Instant(pub Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let instant = Timestamp::deserialize(deserializer).ok().filter(|instant| is_usual(instant.year()));
        instant.map(Instant).ok_or_else(|| serde::de::Error::custom("give an instant such as 2026-03-01T00:00:00Z"))
    }
}

/// A day of the years 1900 to 2999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Date, example = "2026-03-01")]
pub struct Day(pub NaiveDate);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let day = NaiveDate::deserialize(deserializer).ok().filter(|day| is_usual(day.year()));
        day.map(Day).ok_or_else(|| serde::de::Error::custom("give a day such as 2026-03-01"))
    }
}

/// A field of a patch whose value may be null: null clears it, a missing field leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// The field was not sent.
    Keep,
    /// It was, as this.
    Set(T),
}

impl<T: DeserializeOwned> Change<T> {
    /// Takes a field whose type reads null. `None` when it is wrong, which [`Fields::finish`] then tells.
    pub fn take(fields: &mut Fields, name: &str) -> Option<Self> {
        let is_given = fields.is_given(name);
        fields.take::<T>(name).map(|value| if is_given { Change::Set(value) } else { Change::Keep })
    }
}

impl<T> Change<T> {
    /// The new value, if there is to be one.
    pub fn into_option(self) -> Option<T> {
        match self {
            Change::Keep => None,
            Change::Set(value) => Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_instants_are_those_that_the_database_can_hold() {
        assert_eq!(serde_json::from_str::<Day>("\"2026-02-28\"").unwrap().0.to_string(), "2026-02-28");
        assert_eq!(serde_json::from_str::<Instant>("\"2026-03-01T01:00:00+01:00\"").unwrap().0.to_rfc3339(), "2026-03-01T00:00:00+00:00");
        for text in ["\"2026-02-29\"", "\"-262143-01-01\"", "\"+262142-12-31\"", "\"1899-12-31\"", "\"\"", "7", "null"] {
            assert!(serde_json::from_str::<Day>(text).is_err(), "{text}");
        }
        for text in ["\"-262143-01-01T00:00:00Z\"", "\"+262142-01-01T00:00:00Z\"", "\"2026-03-01\"", "\"2026-03-01T00:00:00\"", "7"] {
            assert!(serde_json::from_str::<Instant>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_whole_number_stays_within_its_limits() {
        let read = serde_json::from_str::<Whole<0, 10_080>>;
        assert_eq!(read("0").unwrap().0, 0);
        assert_eq!(read("10080").unwrap().0, 10_080);
        for text in ["-1", "10081", "99999999999", "1.5", "\"1\"", "1e3"] {
            assert!(read(text).unwrap_err().to_string().starts_with("give a whole number from 0 to 10080"), "{text}");
        }
    }
}
