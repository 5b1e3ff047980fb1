//! How people come to an account: by a token that is sent to their address. An open invitation keeps a seat, so that
//! whoever accepts finds one.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
