//! More time to try: a running trial gets a later end. Its one period becomes longer, so that no gap and no second one comes about.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
