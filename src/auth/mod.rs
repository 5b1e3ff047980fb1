//! Who are you? People prove it by password and then by token; a token names a session, and the session is asked each
//! time, so that revoking works at once.

pub mod model;
pub mod service;
pub mod routes;
