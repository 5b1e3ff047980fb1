//! How fast? Each account has its own bucket in each scope, so that one tenant never slows another.

pub mod model;
pub mod service;
pub mod shared;
