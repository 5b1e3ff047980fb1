//! What the ledger tells of the past: use per day and operation, how long credits last, the balance of any moment, and how
//! today's came about. Reads only.

pub mod model;
pub mod routes;
pub mod rules;
pub mod store;
