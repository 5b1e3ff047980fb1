//! What waits for a billing admin: reports, oldest first, to be approved or rejected. An approval goes through the same
//! confirmation as a transfer that the admin saw by himself.

pub mod model;
pub mod routes;
pub mod service;
pub mod store;
