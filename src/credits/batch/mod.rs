//! Debits and holds that arrive together are committed together: one transaction carries everybody who is waiting.
//!
//! Laws: a request is answered after its own commit; within an account in the order of arrival; each has an outcome of its own,
//! and one that fails never fails its neighbours. No timer: alone in the queue, a request goes at once, and those that arrive
//! during a commit form the next batch.
//!
//! `rules` decides without I/O what a batch writes; `combiner`, on the floor of the services, carries it out over its link: `seen` reads under the locks,
//! `decided` writes what becomes of holds and tells each request its outcome.

pub mod combiner;
pub mod decided;
pub mod rules;
pub mod seen;
pub mod store;
