//! Every period ever, and which payment and which rule gave it each of its dates.

pub mod model;
pub mod routes;
pub mod rules;
pub mod store;
