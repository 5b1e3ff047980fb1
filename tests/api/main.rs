//! The API as its clients see it: every test talks to the production router, on a database of its own.

mod accounts;
mod auth;
mod billing;
mod credits;
mod doors;
mod hostile;
mod invitations;
mod mail;
mod money;
mod papers;
mod people;
mod plans;
mod races;
mod registration;
mod roles;
mod shell;
mod sites;
mod support;
mod system;
mod tenants;
mod throttle;
mod trust;
