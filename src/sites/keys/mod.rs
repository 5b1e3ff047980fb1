//! A site's keys. One is shown once, when it is made; only its hash is kept.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
