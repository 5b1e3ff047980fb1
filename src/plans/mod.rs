//! What can be bought, and what it allows. Reference data that a developer edits.

pub mod model;
pub mod rules;
pub mod store;
pub mod service;
pub mod routes;
