//! May you act now? One query finds the caller, one function (rule E) decides.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
pub mod routes;
