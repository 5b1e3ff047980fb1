//! The `Idempotency-Key` header: sent again, a request gives its first answer and no second effect.

use super::problem::Problem;
use axum::{extract::FromRequestParts, http::request::Parts};

/// A key's length at the most, in characters.
pub const KEY_CHARS_MAX: usize = 128;

/// The header's value, if there is one.
#[derive(Debug, Clone)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(IdempotencyKey(None)) };
        let key = value.to_str().unwrap_or("").trim();
        if key.is_empty() || key.len() > KEY_CHARS_MAX || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::invalid()
                .with_field("Idempotency-Key", format!("Send 1 to {KEY_CHARS_MAX} visible ASCII characters, such as a UUID.")));
        }
        Ok(IdempotencyKey(Some(key.to_owned())))
    }
}
