//! The server itself: its health, its documents, and the laws of money that are checked against what is stored.
//!
//! The laws hold by the code of the other rooms and by the database's constraints. `verify` believes neither and counts
//! again, across all tables: it reads, and never repairs.

pub mod document;
pub mod laws;
pub mod model;
pub mod routes;
pub mod service;
pub mod store;
