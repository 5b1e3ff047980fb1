//! Money in. An invoice says what is owed; a confirmed payment is the only thing that starts or renews paid time.
//!
//! A confirmation is one transaction: payment, period, credits, account, invoice, audit. The bank's reference counts once,
//! whoever sends it how often. What comes above or below what an invoice asks for is kept in `balance` until an invoice takes it.
//! `confirmation`, `outcome`, `notices` and `keys` stand on the floor of the services.

pub mod approvals;
pub mod balance;
pub mod confirmation;
pub mod customers;
pub mod downgrades;
pub mod gifts;
pub mod invoices;
mod keys;
pub mod methods;
pub mod metrics;
pub mod model;
pub mod notices;
pub mod outcome;
pub mod paper;
pub mod payments;
pub mod queue;
pub mod reminders;
pub mod renewals;
pub mod reversals;
pub mod routes;
pub mod rules;
pub mod service;
pub mod statements;
pub mod store;
pub mod timeline;
pub mod trials;
