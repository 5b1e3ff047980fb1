//! Mail waits in an outbox that is written in the transaction of its cause: it is there exactly if its cause is. A worker
//! carries it out later, and again until it is taken; no request ever waits for a mail server or fails with one.
//!
//! `letters` and `post` stand on the floor of the services: what a mail says, and how one leaves the house.

pub mod letters;
pub mod model;
pub mod post;
pub mod rules;
pub mod service;
pub mod store;
