//! What the bank says came in. Reading a file stages its lines and changes nothing else; each line is matched with the open
//! invoices as they stand when it is looked at, and becomes a payment only when an admin applies it, by the one confirmation
//! that every transfer passes.

pub mod camt;
pub mod csv;
pub mod model;
pub mod mt940;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
