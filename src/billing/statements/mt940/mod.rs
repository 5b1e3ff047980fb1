//! MT940, the text of SWIFT.

pub mod rules;
