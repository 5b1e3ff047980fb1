//! What can be bought, and what it allows. Reference data that a developer edits.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
