//! The API as its clients see it: every test talks to the production router, on a database of its own.

mod accounts;
mod auth;
mod billing;
mod credits;
mod invitations;
mod mail;
mod people;
mod plans;
mod registration;
mod sites;
mod support;
