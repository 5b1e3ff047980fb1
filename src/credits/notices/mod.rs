//! Mails that tell an account's owners that its credits run low or are used up: once for each time that it gets worse.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
