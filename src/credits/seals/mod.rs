//! Seals show that no old entry was altered, whoever had the power to: each closes some entries of an account and the seal
//! before it. They are made off the hot path, and `igny8 verify` makes them again and compares.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
