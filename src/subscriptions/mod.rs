//! Paid time. Periods are half-open, never overlap, and never have a gap that is not a recorded lapse.
//!
//! A payment either renews (B3: the next period starts where the last one ends) or activates (B2: it starts now, and what
//! was running ends now).

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
