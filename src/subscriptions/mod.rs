//! Paid time. Periods are half-open, never overlap, and never have a gap that is not a recorded lapse.

pub mod model;
pub mod service;
pub mod store;
