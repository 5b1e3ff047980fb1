//! Who belongs to an account and what each may do. Nobody gives or takes what he does not have himself, every account keeps
//! an owner, and no more people come than the plan has seats.

pub mod model;
pub mod routes;
pub mod rules;
pub mod service;
