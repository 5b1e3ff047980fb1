//! The ledger as a file: all entries that a filter lets through, streamed in constant memory.

pub mod routes;
pub mod rules;
pub mod service;
