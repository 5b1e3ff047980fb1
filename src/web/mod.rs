//! What all routes share. Speaks HTTP, decides nothing.

pub mod caller;
pub mod door;
pub mod envelope;
pub mod extract;
pub mod field;
pub mod idempotency;
pub mod identity;
pub mod page;
pub mod payer;
pub mod pipeline;
pub mod problem;
pub mod shell;
pub mod trail;
