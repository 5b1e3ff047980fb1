//! A key with what it stands for.

use serde_json::Value;
use std::fmt::Display;

/// A client's key, bound to the input it came with.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// What the client sent in `Idempotency-Key`.
    pub key: String,
    /// SHA-256 over caller, route and input.
    pub input_hash: [u8; 32],
}

impl Keyed {
    /// Binds a key to caller, route and input, which is written out only then. No key, nothing bound.
    pub fn bind(key: Option<String>, caller: &str, route: &str, input: impl Display) -> Option<Self> {
        let bound = |key| {
            let input_hash = crate::secrets::hash_parts(&[caller.as_bytes(), route.as_bytes(), input.to_string().as_bytes()]);
            Keyed { key, input_hash }
        };
        key.map(bound)
    }
}

/// What was answered the first time.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstAnswer {
    /// The HTTP status.
    pub status: i16,
    /// `data` and `message` of the envelope.
    pub answer: Value,
}
