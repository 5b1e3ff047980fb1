//! What sites can be about: one catalogue for all accounts.

pub mod model;
pub mod routes;
pub mod store;
