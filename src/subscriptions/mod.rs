//! Paid time. Periods are half-open, never overlap, and never have a gap that is not a recorded lapse.
//!
//! How a subscription moves: by payments and the clock alone, decided in `rules::purchase`, `rules::undo` and, for the
//! clock, `accounts::rules::standing`, each from what is and `now`.
//!
//! ```text
//!              payment (B2)            end of the period           payment (B3), joins the end
//!  trialing ────────────────► active ─────────────────────► past_due ─────────────────────► active
//!     │                      ▲  │  ▲                            │ end of the grace: the account is suspended;
//!     │ end: the account     │  │  └── payment (B3), early      │ a payment then starts now (B2), after a recorded lapse
//!     │ is suspended         │  │ cancelled, now or at the end  │
//!     └──────────────────────┼──┴──────► canceled ◄─────────────┘
//!        payment (B2)        └── payment (B2) ──┘
//! ```
//!
//! A payment either renews (B3: the next period starts where the last one ends) or activates (B2: it starts now, and what
//! was running ends now).

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
