//! The money that came: what a bank or provider told of it. A reference counts once.

pub mod store;
