//! The tenants. An account may act as long as its period lasts, whatever was last recorded of it.

pub mod model;
pub mod rules;
pub mod store;
pub mod routes;
