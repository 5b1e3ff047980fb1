//! May you act now? One query finds the caller, one function (rule E) decides.

pub mod acquaintances;
mod columns;
pub mod lookups;
pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
