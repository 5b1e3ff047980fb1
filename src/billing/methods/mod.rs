//! How and where customers pay: what is on offer, with bank details by the customer's country.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
