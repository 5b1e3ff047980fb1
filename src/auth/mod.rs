//! Who are you? People prove it by password and then by token; a token names a session, and the session is asked each
//! time, so that revoking works at once.
//!
//! The room owns users, sessions and refresh tokens. Four files are named by their noun: `passwords` and `tokens` stand
//! on the floor of the rules, `authenticator` and `hashing` on that of the services. `users`, `members`, `mfa`,
//! `attempts`, `addresses` and `recovery` have floors of their own.

pub mod addresses;
pub mod attempts;
pub mod authenticator;
mod hashing;
pub mod members;
pub mod mfa;
pub mod model;
pub mod passwords;
pub mod recovery;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
pub mod tokens;
pub mod users;
