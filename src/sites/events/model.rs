//! An event, as a plugin reports it and as it is kept.

use crate::{
    clock::Timestamp,
    credits::model::{has_nul, values_in},
    ids::{EventId, SiteId},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Events of one request at the most.
pub const BATCH_EVENTS_MAX: usize = 100;
/// Characters of an event's type at the most.
pub const EVENT_TYPE_CHARS_MAX: usize = 64;
/// Characters of a plugin's own word for an event at the most.
const EXTERNAL_ID_CHARS_MAX: usize = 128;
/// Days that an event is kept; sent again after that, it is a new one.
pub const EVENTS_KEPT_DAYS: u16 = 90;

/// An event of a site.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Its number; a later one is greater.
    pub id: EventId,
    /// The site that it is of.
    pub site: SiteId,
    /// What happened.
    #[schema(example = "post.published")]
    pub event_type: String,
    /// The plugin's own word for it.
    #[schema(example = "4711")]
    pub external_id: String,
    /// What the plugin tells of it.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// When it was first reported.
    pub created_at: DateTime<Utc>,
}

/// What happened: 1 to 64 characters, such as `post.published`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 64, example = "post.published")]
pub struct EventType(pub String);

/// The plugin's own word for an event: 1 to 128 characters, or a whole number, such as that of a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 128, example = "4711")]
pub struct ExternalId(pub String);

/// A plugin's own data: a JSON object of at most [`Payload::BYTES_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Payload(pub Map<String, Value>);

/// An event to be reported.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// What happened.
    pub event_type: EventType,
    /// Your own word for it: the same event sent again has the same one.
    pub external_id: ExternalId,
    /// What you tell of it, at most 16 KiB.
    #[serde(default)]
    pub payload: Payload,
}

/// What came of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The events in the order in which they were sent.
    pub events: Vec<Event>,
    /// How many of them were new.
    pub created: u64,
}

/// Which events a list shows.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only of this type.
    pub event_type: Option<String>,
    /// Reported at or after.
    pub from: Option<Timestamp>,
    /// Reported before.
    pub to: Option<Timestamp>,
}

fn line<E: serde::de::Error>(text: &str, chars_max: usize) -> Result<String, E> {
    let text = text.trim();
    let is_line = !text.is_empty() && text.chars().count() <= chars_max && !text.chars().any(char::is_control);
    if is_line { Ok(text.to_owned()) } else { Err(E::custom(format!("use 1 to {chars_max} characters of one line"))) }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        line(&String::deserialize(deserializer)?, EVENT_TYPE_CHARS_MAX).map(EventType)
    }
}

impl<'de> Deserialize<'de> for ExternalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Sent {
            Number(i64),
            Text(String),
        }
        match Sent::deserialize(deserializer).map_err(|_| D::Error::custom("give a text or a whole number"))? {
            Sent::Number(number) => Ok(ExternalId(number.to_string())),
            Sent::Text(text) => line(&text, EXTERNAL_ID_CHARS_MAX).map(ExternalId),
        }
    }
}

impl Payload {
    /// Its text at the most, in bytes.
    pub const BYTES_MAX: usize = 16 * 1024;
    /// Its values at the most, those within others included.
    pub const VALUES_MAX: usize = 1_000;

    /// The object for the database.
    pub fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let payload = Payload(Map::deserialize(deserializer).map_err(|_| D::Error::custom("send a JSON object"))?);
        let value = payload.value();
        if value.to_string().len() > Self::BYTES_MAX || values_in(&value) > Self::VALUES_MAX {
            return Err(D::Error::custom(format!("send at most {} bytes and {} values", Self::BYTES_MAX, Self::VALUES_MAX)));
        }
        if has_nul(&value) {
            return Err(D::Error::custom("the character U+0000 can't be stored"));
        }
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_own_word_is_a_text_or_a_whole_number() {
        let read = |text: &str| serde_json::from_str::<ExternalId>(text).map(|id| id.0);

        assert_eq!((read("4711").unwrap(), read("\" post-7 \"").unwrap()), ("4711".to_owned(), "post-7".to_owned()));
        let long = format!("\"{}\"", "x".repeat(129));
        for text in ["\"\"", "\" \"", "1.5", "null", "\"a\\nb\"", "\"\\u0000\"", &long] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_payload_is_an_object_of_limited_size() {
        let read = |text: &str| serde_json::from_str::<Payload>(text);

        assert!(read(&format!("{{\"a\":\"{}\"}}", "x".repeat(16_376))).is_ok());
        for text in [
            "[]",
            "\"a\"",
            &format!("{{\"a\":\"{}\"}}", "x".repeat(16_377)),
            &format!("{{\"a\":[{}0]}}", "0,".repeat(1_000)),
            r#"{"a\u0000":1}"#,
        ] {
            assert!(read(text).is_err(), "{}", text.chars().take(40).collect::<String>());
        }
    }
}
