//! IGNY8's backend: accounts, plans, credits and bank transfers behind one JSON API. Modules in reading order.

pub mod build_info;
pub mod clock;
pub mod config;
pub mod db;
pub mod embedded;
pub mod ids;
pub mod meters;
pub mod money;
pub mod period;
pub mod replica;
pub mod sealing;
pub mod secrets;
pub mod state;

pub mod accounts;
pub mod audit;
pub mod auth;
pub mod billing;
pub mod credits;
pub mod gate;
pub mod idempotency;
pub mod mail;
pub mod plans;
pub mod sites;
pub mod subscriptions;
pub mod system;
pub mod throttle;

pub mod jobs;
pub mod router;
pub mod server;
pub mod telemetry;
pub mod traces;
pub mod web;
