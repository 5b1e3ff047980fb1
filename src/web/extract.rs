//! What a handler takes, checked at the border: bodies as JSON or form, path ids, and queries. Every rejection is a
//! [`Problem`] that names all failing fields at once.

use super::problem::Problem;
use crate::state::AppState;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A body at the most, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// A form's fields at the most, array items included.
const FORM_FIELDS_MAX: usize = 1_000;
/// Brackets after a form's name at the most.
const FORM_DEPTH_MAX: usize = 8;

/// The fields of a body or a query, each still the text it was sent as.
///
/// Numbers keep their digits, so that money never passes through a float. In a form every scalar is a text; there `29`,
/// `true` and an empty value are read as number, truth and nothing where the field wants one.
#[derive(Debug, Default)]
pub struct Fields {
    raw: BTreeMap<String, Box<RawValue>>,
    is_form: bool,
    wrong: BTreeMap<String, String>,
}

impl Fields {
    /// Takes a field. `None` when it is missing or wrong, which [`Fields::finish`] then tells.
    ///
    /// A type that reads `null`, such as `Option`, makes the field optional.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let given = self.raw.remove(name);
        let text = given.as_ref().map_or("null", |raw| raw.get());
        match self.read(text) {
            Ok(value) => Some(value),
            Err(_) if text == "null" => self.refuse(name, "This field is required.".to_owned()),
            Err(error) => self.refuse(name, sentence(&error)),
        }
    }

    /// Whether the field was sent at all, be it as null: that is how a patch tells "clear it" from "leave it".
    pub fn is_given(&self, name: &str) -> bool {
        self.raw.contains_key(name)
    }

    fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, serde_json::Error> {
        let as_sent = serde_json::from_str(text);
        if !self.is_form || as_sent.is_ok() {
            return as_sent;
        }
        let Ok(plain) = serde_json::from_str::<String>(text) else { return as_sent };
        let bare = if plain.is_empty() { "null" } else { plain.as_str() };
        serde_json::from_str(bare).or(as_sent)
    }

    fn refuse<T>(&mut self, name: &str, sentence: String) -> Option<T> {
        self.wrong.insert(name.to_owned(), sentence);
        None
    }

    /// Gives the body when every field was right; else a problem that lists all that were not.
    pub fn finish<T>(mut self, body: Option<T>, unknown: UnknownFields) -> Result<T, Problem> {
        if let UnknownFields::Refused = unknown {
            for name in std::mem::take(&mut self.raw).into_keys() {
                self.wrong.insert(name.chars().take(64).collect(), "This field is not known here; remove it.".to_owned());
            }
        }
        match body {
            Some(body) if self.wrong.is_empty() => Ok(body),
            _ => Err(self.wrong.into_iter().fold(Problem::invalid(), |problem, (name, sentence)| problem.with_field(&name, sentence))),
        }
    }
}

/// What happens to fields that a body has but its type does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// Passed over, as the old system did: present clients send more than is read.
    Ignored,
    /// Named as errors, where a typing error could cost money.
    Refused,
}

/// A type that can be read from [`Fields`]; [`request_body!`](crate::request_body) writes it.
pub trait FromFields: Sized {
    /// What happens to unknown fields.
    const UNKNOWN: UnknownFields;
    /// Takes every field, the wrong ones included, before it gives up.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// Declares what a request carries: the struct, its reader that reports all failing fields at once, and its schema.
#[macro_export]
macro_rules! request_body {
    ($unknown:ident: $(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, utoipa::ToSchema, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }

        impl $crate::web::extract::FromFields for $name {
            const UNKNOWN: $crate::web::extract::UnknownFields = $crate::web::extract::UnknownFields::$unknown;
            fn from_fields(fields: &mut $crate::web::extract::Fields) -> Option<Self> {
                $(let $field = fields.take::<$type>(stringify!($field).trim_start_matches("r#"));)*
                Some($name { $($field: $field?,)* })
            }
        }
    };
}

/// A body as JSON or as a form.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: FromFields> FromRequest<AppState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let kind = BodyKind::of(&request)?;
        let Upload(bytes) = Upload::from_request(request, state).await?;
        let mut fields = match kind {
            BodyKind::Json => json_fields(&bytes)?,
            BodyKind::Form => form_fields(&bytes)?,
        };
        let body = T::from_fields(&mut fields);
        fields.finish(body, T::UNKNOWN).map(Body)
    }
}

/// A file, sent as the body; what it is, its reader tells.
#[derive(Debug)]
pub struct Upload(pub Bytes);

impl FromRequest<AppState> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.into_response_status() {
            // Which limit it was is the router's matter.
            status @ StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "body_too_large", "The body is too large; send less."),
            _ => Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body did not arrive whole; send it again."),
        })?;
        Ok(Upload(bytes))
    }
}

trait RejectionStatus {
    fn into_response_status(self) -> StatusCode;
}

impl RejectionStatus for axum::extract::rejection::BytesRejection {
    fn into_response_status(self) -> StatusCode {
        self.status()
    }
}

enum BodyKind {
    Json,
    Form,
}

impl BodyKind {
    /// JSON unless a content type says otherwise; a request without body needs none.
    fn of(request: &Request) -> Result<Self, Problem> {
        let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(BodyKind::Json) };
        let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Ok(BodyKind::Json),
            other if other.starts_with("application/") && other.ends_with("+json") => Ok(BodyKind::Json),
            "application/x-www-form-urlencoded" => Ok(BodyKind::Form),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send application/json or application/x-www-form-urlencoded.",
            )),
        }
    }
}

fn json_fields(bytes: &[u8]) -> Result<Fields, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Fields::default());
    }
    match serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(bytes) {
        Ok(raw) => Ok(Fields { raw, ..Fields::default() }),
        Err(error) if error.is_data() => Err(Problem::invalid().with_field("non_field_errors", "Send a JSON object.")),
        Err(error) => {
            let sentence = format!("The body is no valid JSON: see line {}, column {}.", error.line(), error.column());
            Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_json", sentence).fact("line", error.line()).fact("column", error.column()))
        }
    }
}

/// Reads a form as PHP writes it: `a=1`, `b[]=x`, `b[0]=x`, `c[d]=y`, `c[e][0][f]=z`.
fn form_fields(bytes: &[u8]) -> Result<Fields, Problem> {
    use serde_json::Value;
    let mut tree = Value::Object(serde_json::Map::new());
    for (count, (name, value)) in form_urlencoded::parse(bytes).enumerate() {
        if count >= FORM_FIELDS_MAX {
            return Err(Problem::invalid().with_field("non_field_errors", format!("Send at most {FORM_FIELDS_MAX} fields.")));
        }
        let keys = form_keys(&name);
        if keys.len() > FORM_DEPTH_MAX + 1 {
            return Err(Problem::invalid().with_field("non_field_errors", format!("Nest arrays at most {FORM_DEPTH_MAX} deep.")));
        }
        let slot = keys.iter().fold(&mut tree, |slot, key| member(slot, key));
        *slot = Value::String(value.into_owned());
    }
    let members = tree.as_object_mut().map(std::mem::take).unwrap_or_default();
    let raw = |value: Value| serde_json::value::to_raw_value(&settled(value)).map_err(|_| Problem::internal("a form could not be read"));
    let raw = members.into_iter().map(|(name, value)| Ok((name, raw(value)?))).collect::<Result<_, Problem>>()?;
    Ok(Fields { raw, is_form: true, ..Fields::default() })
}

/// The keys that a name leads through: `a`, `b` and nothing of `a[b][]`. A name with other brackets is one key.
fn form_keys(name: &str) -> Vec<&str> {
    match name.split_once('[').and_then(|(outer, inner)| Some((outer, inner.strip_suffix(']')?))) {
        Some((outer, inner)) if !outer.is_empty() => std::iter::once(outer).chain(inner.split("][")).collect(),
        Some(_) | None => vec![name],
    }
}

/// The slot of that key; nothing stands for the next number.
fn member<'a>(slot: &'a mut serde_json::Value, key: &str) -> &'a mut serde_json::Value {
    if !slot.is_object() {
        *slot = serde_json::Value::Object(serde_json::Map::new());
    }
    let key = match slot.as_object() {
        Some(members) if key.is_empty() => members.len().to_string(),
        Some(_) | None => key.to_owned(),
    };
    &mut slot[key]
}

/// The same with arrays for what has numbers only, in their order.
fn settled(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let Value::Object(members) = value else { return value };
    let mut members = members.into_iter().map(|(key, value)| (key, settled(value))).collect::<Vec<_>>();
    if members.iter().any(|(key, _)| !key.bytes().all(|b| b.is_ascii_digit())) {
        return Value::Object(members.into_iter().collect());
    }
    members.sort_by_key(|(key, _)| (key.len(), key.clone()));
    Value::Array(members.into_iter().map(|(_, value)| value).collect())
}

/// Query parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: FromFields, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut fields = form_fields(parts.uri.query().unwrap_or("").as_bytes())?;
        let body = T::from_fields(&mut fields);
        fields.finish(body, T::UNKNOWN).map(Query)
    }
}

/// What stands in the path's slots. One that can't be an id is an unknown thing: 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Path(value)).map_err(|_| Problem::not_found())
    }
}

/// Characters of a field's sentence at the most: serde repeats what was sent, which may be long.
const SENTENCE_CHARS_MAX: usize = 200;

/// Serde's message as a sentence: no position, a capital, a full stop.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text).trim_end_matches('.');
    let text = text.chars().take(SENTENCE_CHARS_MAX).collect::<String>();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// A text of 1 to `MAX` characters after trimming, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Text<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = String::deserialize(deserializer)?.trim().to_owned();
        match text.chars().count() {
            0 => Err(D::Error::custom("this may not be empty")),
            length if length > MAX => Err(D::Error::custom(format!("use at most {MAX} characters"))),
            _ if text.chars().any(|c| c.is_control() && c != '\n') => Err(D::Error::custom("control characters can't be used here")),
            _ => Ok(Text(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, reason = "the macro writes public types")]

    use super::*;

    request_body! { Refused:
        /// A body for tests.
        pub struct Sample {
            /// A number.
            count: i64,
            /// A text.
            name: Option<Text<5>>,
            /// Money.
            amount: Option<crate::money::Money>,
            /// Several.
            tags: Option<Vec<String>>,
        }
    }

    fn json(text: &str) -> Result<Sample, Problem> {
        let mut fields = json_fields(text.as_bytes())?;
        let body = Sample::from_fields(&mut fields);
        fields.finish(body, Sample::UNKNOWN)
    }

    fn form(text: &str) -> Result<Sample, Problem> {
        let mut fields = form_fields(text.as_bytes())?;
        let body = Sample::from_fields(&mut fields);
        fields.finish(body, Sample::UNKNOWN)
    }

    #[test]
    fn every_failing_field_is_listed_at_once() {
        let problem = json(r#"{"count": "x", "name": "too long", "amount": 1.001, "cuont": 1}"#).unwrap_err();
        assert_eq!(problem.field_names(), ["amount", "count", "cuont", "name"]);
    }

    #[test]
    fn forms_and_json_read_alike() {
        let from_json = json(r#"{"count": 7, "name": " ab ", "amount": "89.10", "tags": ["a", "b"]}"#).unwrap();
        let from_form = form("count=7&name=+ab+&amount=89.10&tags[]=a&tags[1]=b").unwrap();
        for sample in [from_json, from_form] {
            assert_eq!(sample.count, 7);
            assert_eq!(sample.name, Some(Text("ab".to_owned())));
            assert_eq!(sample.amount.unwrap().to_string(), "89.10");
            assert_eq!(sample.tags.unwrap(), ["a", "b"]);
        }
        assert!(form("count=7&name=").unwrap().name.is_none());
    }

    #[test]
    fn a_forms_arrays_nest_as_php_nests_them() {
        let read = |text: &str| {
            let raw = form_fields(text.as_bytes()).map(|fields| fields.raw).map_err(|problem| problem.field_names().join(" "));
            raw.map(|raw| serde_json::to_value(raw).unwrap())
        };

        let nested = read("m[post]=7&m[tags][]=a&m[tags][]=b&e[0][type]=x&e[0][id]=1&e[1][type]=y&plain[=1&n[2]=c&n[10]=d").unwrap();
        let expected = serde_json::json!({
            "m": {"post": "7", "tags": ["a", "b"]}, "e": [{"type": "x", "id": "1"}, {"type": "y"}], "plain[": "1", "n": ["c", "d"],
        });
        assert_eq!(nested, expected);
        assert_eq!(read("a=1&a[b]=2&a[b][c]=3").unwrap(), serde_json::json!({"a": {"b": {"c": "3"}}}));
        assert!(read(&format!("a{}=1", "[b]".repeat(8))).is_ok());
        assert_eq!(read(&format!("a{}=1", "[b]".repeat(9))).unwrap_err(), "non_field_errors");
    }

    #[test]
    fn malformed_json_is_told_with_line_and_column() {
        let problem = json("{\"count\": 1,\n \"name\" 2}").unwrap_err();
        assert_eq!(problem.code(), "malformed_json");
        assert!(problem.sentence().contains("line 2, column 9"), "{}", problem.sentence());
        assert_eq!(json("[1]").unwrap_err().field_names(), ["non_field_errors"]);
    }
}
