//! May you act now? One query finds the caller, one function (rule E) decides.

pub mod acquaintances;
pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod standings;
pub mod store;
