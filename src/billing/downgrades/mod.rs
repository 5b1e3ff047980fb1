//! A smaller plan from the end of what is paid for. What it has no room for is frozen, the newest first: a site can be read,
//! a person can read; neither is deleted, and both thaw with a larger plan or when others make room. Frozen is derived at each request and never written.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
