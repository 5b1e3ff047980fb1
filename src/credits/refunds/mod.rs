//! Deductions given back, in whole or in part, to the pools that they came from; never more than was taken.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
