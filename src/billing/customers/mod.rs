//! The accounts as billing admins look for them: by whatever a customer's letter names, and all of one on a page.
//! Its queries read across rooms, for staff only; they change nothing.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
