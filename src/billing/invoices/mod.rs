//! Invoices as people see them: lists, papers, and their withdrawal. A withdrawn invoice keeps its number and is void.

pub mod model;
pub mod routes;
pub mod service;
