//! What can be given back.

use crate::{credits::model::TransactionKind, money::Credits};

/// An entry that somebody wants to give back, with what was given back of it before.
#[derive(Clone, Copy, Debug)]
pub struct Refundable {
    /// What it is; only deductions are given back.
    pub kind: TransactionKind,
    /// What it moved of the plan pool; negative.
    pub plan: Credits,
    /// What it moved of the extra pool; negative.
    pub extra: Credits,
    /// Given back to the plan pool.
    pub plan_refunded: Credits,
    /// Given back to the extra pool.
    pub extra_refunded: Credits,
}
