//! Money in. An invoice says what is owed; a confirmed payment is the only thing that starts or renews paid time.
//!
//! A confirmation is one transaction: payment, period, credits, account, invoice, audit. The bank's reference counts once,
//! whoever sends it how often. `confirmation` stands on the floor of the services.

pub mod confirmation;
pub mod gifts;
pub mod model;
pub mod payments;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
