//! What plugins report of their sites: each event is kept once, however often it is sent, and not for ever.

pub mod model;
pub mod routes;
pub mod service;
pub mod store;
