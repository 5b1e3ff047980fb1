//! The sectors that a site covers: of its industry, or by a name of the customer's own. As many as the plan allows.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
