//! How today's balance came about: each grant with what it paid for, each reset with its cause. Reads only.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
