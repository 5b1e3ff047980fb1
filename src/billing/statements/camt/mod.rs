//! CAMT.053, the XML of ISO 20022.

pub mod rules;
