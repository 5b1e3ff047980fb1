//! The people whom tokens are issued to. A user belongs to one account; an address to one living user.

pub mod model;
pub mod store;
