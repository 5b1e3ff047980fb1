//! A smaller plan from the end of what is paid for. What it has no room for is frozen, the newest first: it can be read, is
//! never deleted, and thaws with a larger plan. Frozen is derived at each request and never written.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
