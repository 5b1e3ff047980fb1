//! The invoice before each renewal: written so many days before the period ends, once, by whichever instance comes first.

pub mod rules;
pub mod service;
pub mod store;
