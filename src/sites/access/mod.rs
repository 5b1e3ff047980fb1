//! Which editors and viewers see a site. Owner, admin and developer see all of them anyway.

pub mod routes;
pub mod service;
pub mod store;
