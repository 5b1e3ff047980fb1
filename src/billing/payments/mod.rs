//! The money that came: what customers say of it, and what a bank or provider told. Money that was seen counts once.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
