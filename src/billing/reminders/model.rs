//! When somebody is reminded.

use crate::{
    clock::Timestamp,
    ids::{AccountId, InvoiceId},
    money::Money,
};
use chrono::TimeDelta;

crate::words! {
    /// Which of the mails about one period's end.
    pub enum Moment {
        /// Three days before.
        Soon = "soon",
        /// The last day.
        LastDay = "last_day",
        /// A day after, in the grace.
        Overdue = "overdue",
        /// Trial or grace were over, and the account is suspended.
        Ended = "ended",
    }
}

/// Whose period ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A trial's.
    Trial,
    /// A paid one.
    Paid,
}

/// From when to when, counted from a period's end, a reminder is true: half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which.
    pub moment: Moment,
    /// Of whom.
    pub whose: Whose,
    /// The first instant, from the end.
    pub from: TimeDelta,
    /// The first instant after.
    pub until: TimeDelta,
}

/// An account to be reminded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// Its plan's name.
    pub plan: String,
    /// The end that it is about.
    pub ends_at: Timestamp,
    /// What it owes.
    pub owed: Option<Owed>,
}

/// What an account owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The open invoice.
    pub invoice: InvoiceId,
    /// What is still to come of it.
    pub outstanding: Money,
    /// In which currency.
    pub currency: String,
    /// What to write on the transfer.
    pub reference: String,
}
