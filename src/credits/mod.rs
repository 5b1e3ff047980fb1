//! Credits are counted promises, not money. Entries are only ever added; a mistake is answered by a reversal.

pub mod routes;
pub mod service;
pub mod store;
