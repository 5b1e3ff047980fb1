//! Credits are counted promises, not money. Entries are only ever added; a mistake is answered by a reversal.
//!
//! Laws: the sum of all amounts equals the balance, per pool, always. The sequence numbers of an account have no gap. No
//! balance is negative. Plan credits are spent before extra credits, and of these
//! those that expire first before the others. What is held is not spent. A period is granted once.

pub mod batch;
pub mod explain;
pub mod history;
pub mod holds;
pub mod lots;
pub mod model;
pub mod notices;
pub mod pricing;
pub mod refunds;
pub mod routes;
pub mod rules;
pub mod seals;
pub mod service;
pub mod statement;
pub mod store;
