//! How full an account is.

use crate::{ids::AccountId, money::Credits};

crate::words! {
    /// How its credits stand against a month's.
    pub enum Level {
        /// Nothing to tell.
        Enough = "enough",
        /// Below a fifth of what a month brings.
        Low = "low",
        /// None left.
        UsedUp = "used_up",
    }
}

/// An account whose level is another than when somebody last looked.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Which.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// Credits that it has.
    pub credits: Credits,
    /// Credits that a month brings.
    pub credits_per_month: Credits,
    /// As it was noted.
    pub before: Level,
    /// As it is.
    pub now: Level,
}
