//! IGNY8's backend: accounts, plans, credits and bank transfers behind one JSON API. Modules in reading order.

pub mod build_info;
pub mod clock;
pub mod config;
pub mod db;
pub mod embedded;
pub mod ids;
pub mod money;
pub mod period;
pub mod secrets;
pub mod state;

pub mod audit;
pub mod idempotency;
pub mod auth;
pub mod plans;
pub mod credits;
pub mod subscriptions;
pub mod accounts;
pub mod sites;
pub mod billing;
pub mod gate;
pub mod throttle;
pub mod system;

pub mod jobs;
pub mod router;
pub mod server;
pub mod telemetry;
pub mod web;
