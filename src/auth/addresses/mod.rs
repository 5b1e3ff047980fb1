//! Another e-mail address: asked for by password, told to the old address, confirmed at the new one.
//!
//! Nobody asks whether the new address is taken before its token comes back: so asking tells nothing about it. Whose it is
//! decides the unique index at that moment.

pub mod routes;
pub mod service;
