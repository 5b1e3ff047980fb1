//! Sites and the keys by which their plugins call. A key is a principal of its own, never its owner.

pub mod model;
pub mod rules;
pub mod store;
pub mod service;
pub mod routes;

pub mod keys;
