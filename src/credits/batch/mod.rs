//! Spends that arrive together are committed together: one transaction carries everybody who is waiting.
//!
//! Laws: a spend is answered after its own commit; within an account in the order of arrival; each has an outcome of its own,
//! and one that fails never fails its neighbours. No timer: alone in the queue, a spend goes at once, and those that arrive
//! during a commit form the next batch.
//!
//! `rules` decides without I/O what a batch writes; `combiner`, on the floor of the services, carries it out.

pub mod combiner;
pub mod rules;
pub mod store;
