//! Extra credits that expire.
//!
//! Spending order: plan credits first, then the extra credits that expire first, then those that don't. A debit knows only the
//! two pools. Lots are settled when something else happens to the extra pool: what was spent since then is the difference
//! between the lots' sum and the pool. From the instant at which a lot ends nobody spends before its end is written down.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
