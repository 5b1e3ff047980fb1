//! Sites that were copied, or have moved: their key is used from another address than the registered one. There it only
//! reads, until an owner or admin says what it is.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
