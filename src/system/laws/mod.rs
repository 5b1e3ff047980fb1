//! The ten laws of money, asked of the database.

pub mod store;
