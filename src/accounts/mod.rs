//! The tenants. An account may act as long as its period lasts, whatever was last recorded of it.
//!
//! How an account moves (`rules::next_status` is the table; by the clock: `rules::standing`). Payment leads to active from
//! everywhere, and so does staff's own hand.
//!
//! ```text
//!  registration             upgrade asked
//!      │            ┌────────────────────────────┐
//!      ▼            │                            ▼
//!   ┌───────┐  payment   ┌────────┐  asked  ┌─────────────────┐
//!   │ trial │───────────►│ active │◄───────►│ pending_payment │
//!   └───┬───┘            └─┬────┬─┘ payment └───┬─────────┬───┘
//!       │ trial over       │    │ grace over    │ period  │
//!       ▼                  ▼    │ or staff      ▼ over    │
//!   ┌────────────────────────────────────────────────┐    │     payment, or
//!   │                   suspended                    │────┼───► by hand: active
//!   └───────────────────────┬────────────────────────┘    │
//!                           ▼ cancelled, now or at        ▼
//!   ┌────────────────────────────────────────────────────────┐
//!   │                    cancelled                           │──► payment: active
//!   └────────────────────────────────────────────────────────┘
//! ```
//!
//! `registration` stands on the floor of the rules: what a signup may ask for. `life` and `staff` stand on that of the
//! services: what happens to an account, and the system account with its people.

pub mod invitations;
pub mod life;
pub mod limits;
pub mod model;
pub mod people;
pub mod registration;
pub mod routes;
pub mod rules;
pub mod service;
pub mod staff;
pub mod store;
