//! Mails that remind of a period's end: each once, while it is still true. After a downtime only what is true by then is sent.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
