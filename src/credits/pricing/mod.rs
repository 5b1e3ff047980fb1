//! What operations cost, now and from a day on, and what a job would cost. A price never changes for what was before.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
