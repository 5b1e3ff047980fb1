//! A site's keys. One is shown once, when it is made; only its hash is kept.

pub mod model;
pub mod rules;
pub mod store;
pub mod service;
pub mod routes;
