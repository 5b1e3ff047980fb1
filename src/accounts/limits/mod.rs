//! How fast one account may be, where a developer says otherwise than its plan.

pub mod model;
pub mod routes;
pub mod service;
pub mod store;
