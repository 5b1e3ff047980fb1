//! The server itself: its health, its documents.

pub mod document;
pub mod routes;
