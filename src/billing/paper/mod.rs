//! An invoice, or a receipt, as a PDF. What stands on it is decided in `rules`; `pdf` draws it and stands on the floor of the
//! services. The same invoice is the same paper, byte for byte.

pub mod model;
pub mod pdf;
pub mod raast;
pub mod rules;
