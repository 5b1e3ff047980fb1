//! Credits reserved before the work and paid after it.
//!
//! Laws: an open hold reserves its amount and nothing else does, so that what is held is the sum of the open holds (I3). A hold
//! is settled once: captured, released, expired or displaced. It expires at its instant, whether or not a job has run. Where
//! the pools shrink below what is held, the newest holds are displaced.
//!
//! Holds are placed, captured and released in batches with the debits of the same account, in the order of arrival.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
