//! What staff do with an account's credits by hand: give, sell, take, give back. Each needs a reason and leaves an audit row.

pub mod model;
pub mod routes;
pub mod service;
