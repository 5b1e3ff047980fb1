//! CSV, of banks that we know and of any other whose columns are named.

pub mod rules;
