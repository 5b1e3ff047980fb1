//! The API as its clients see it: every test talks to the production router, on a database of its own.

mod accounts;
mod addresses;
mod attempts;
mod auth;
mod billing;
mod credits;
mod doors;
mod hostile;
mod invitations;
mod mail;
mod mfa;
mod people;
mod plans;
mod races;
mod registration;
mod roles;
mod sessions;
mod shell;
mod sites;
mod support;
mod system;
mod tenants;
mod throttle;
mod timing;
mod trust;
