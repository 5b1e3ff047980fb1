//! Sites and the keys by which their plugins call. A key is a principal of its own, never its owner.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;

pub mod access;
pub mod clones;
pub mod events;
pub mod industries;
pub mod keys;
pub mod sectors;
