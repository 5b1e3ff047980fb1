//! Scopes and verdicts.

use std::{net::IpAddr, time::Duration};

crate::words! {
    /// A kind of route with a limit of its own (contract, section 7).
    pub enum Scope {
        /// Sessions and identity.
        Auth = "auth",
        /// Login, register, reset: per client address and per e-mail.
        AuthStrict = "auth_strict",
        /// Reading sites and their content.
        ContentRead = "content_read",
        /// Writing them.
        ContentWrite = "content_write",
        /// Invoices, payments, upgrade.
        Billing = "billing",
        /// Billing administration, reads.
        BillingAdminRead = "billing_admin_read",
        /// Billing administration, writes.
        BillingAdminWrite = "billing_admin",
        /// Docs, schema, ping.
        System = "system",
        /// Balance, check, deduct, holds.
        Credits = "credits",
        /// Everything else.
        Default = "default",
    }
}

impl Scope {
    /// Requests a minute, before the plan's factor.
    pub fn per_minute(self) -> u32 {
        match self {
            Scope::Auth => 20,
            Scope::AuthStrict => 5,
            Scope::ContentRead | Scope::System | Scope::Default => 100,
            Scope::ContentWrite | Scope::Billing => 30,
            Scope::BillingAdminRead => 60,
            Scope::BillingAdminWrite => 10,
            Scope::Credits => 600,
        }
    }
}

/// Whose bucket a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An account's.
    Account(i64),
    /// A client address's; IPv6 by its /64. Before authentication.
    Address(IpAddr),
    /// An e-mail address's, by a hash, so that the key is small whatever was typed.
    Email(u64),
}

/// What the limiter says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Requests a minute.
    pub limit: u32,
    /// How many would pass now.
    pub remaining: u32,
    /// Until the bucket is full again.
    pub reset_after: Duration,
    /// Set when the request is over the limit: when to try again, at least a second.
    pub retry_after: Option<Duration>,
}
