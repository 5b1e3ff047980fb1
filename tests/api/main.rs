//! The API as its clients see it: every test talks to the production router, on a database of its own.

mod accounts;
mod auth;
mod billing;
mod credits;
mod doors;
mod history;
mod hostile;
mod invitations;
mod lots;
mod mail;
mod model;
mod notices;
mod people;
mod plans;
mod prices;
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
