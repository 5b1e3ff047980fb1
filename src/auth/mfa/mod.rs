//! The second factor: a code that an app computes from a secret (TOTP, RFC 6238), or a recovery code where the app is lost.
//! Each opens the door once. The secret is sealed at rest, recovery codes are hashed.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
