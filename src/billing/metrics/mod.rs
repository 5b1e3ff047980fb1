//! How the business does, by month: for its owner. Everything is told from the rows that are kept anyway, so that a month that
//! is over is told the same for ever, but for payments that join an earlier period within its grace.
//!
//! - *MRR* of a month: what a month costs those who have paid time at its last instant, or now in the month that is not over. A
//!   period counts with what was paid for it, whatever the plan costs today; a year's price is divided by twelve once, in the sum.
//!   Time that nobody paid for (trials, a developer's hand, enterprise, what is carried on after a reversal) counts nothing.
//!   A reversed period counts until it was reversed.
//! - *ARPA*: MRR by the accounts that make it.
//! - *New, returned, lost*: who pays at this month's end and did not at the end of the one before (and never had, or had once),
//!   and who did and does not.
//! - *Trials* by the month of signup: how many have ever paid and not been given it back, and how many of them before the trial
//!   they were promised was over.
//! - *Cash in*: transfers by when an admin confirmed them, less those taken back by when they were; may be negative.
//! - *Overdue*, now: open invoices past their day, and what of them is still to come.
//!
//! System accounts are staff's own and count nowhere. A deleted account pays until it is deleted, has signed up all the same,
//! and owes nothing any more. Months are UTC. Only money in the currency of invoices is counted: currencies are never added up.

pub mod chart;
pub mod model;
pub mod routes;
pub mod rules;
pub mod store;
