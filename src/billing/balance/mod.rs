//! Money that an account keeps with us: transfers come in, invoices take what they ask for, what is left waits for the next
//! one. Entries are only ever added, and the balance is their sum.

pub mod model;
pub mod service;
pub mod store;
