//! Who did what. Rows are only ever added; the database refuses anything else.

pub mod model;
pub mod routes;
pub mod service;
pub mod store;
