//! Transfers that are taken back: a bank recalls money, or an admin confirmed it for somebody else. Nothing is deleted: money
//! and credits move by compensating entries, the period ends, the invoice is open again.

pub mod model;
pub mod routes;
pub mod service;
