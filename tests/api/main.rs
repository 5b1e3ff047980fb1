//! The API as its clients see it: every test talks to the production router, on a database of its own.

mod auth;
mod registration;
mod support;
mod system;
