//! What one admin orders and another must approve: orders above an amount that configuration names. An order that waits changes
//! nothing. It was tried and rolled back when it was asked for, so that its summary tells what it will do; carried out, it is
//! judged anew, in the transaction that marks it as approved.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
