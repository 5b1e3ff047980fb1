//! How much goes back, and where to. No I/O.

use super::model::Refundable;
use crate::{
    credits::model::TransactionKind,
    money::{Credits, CreditsOutOfRange},
};

/// Why nothing is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefundRefused {
    /// Only deductions are given back; what else is wrong is adjusted.
    #[error("only deductions can be refunded")]
    NotADeduction,
    /// More than what was taken and not given back yet.
    #[error("only {refundable} credits are left to refund")]
    TooMuch {
        /// What is left to give back.
        refundable: Credits,
    },
    /// Past what a balance can hold.
    #[error("the refund would leave its limits")]
    OutOfRange,
}

impl From<CreditsOutOfRange> for RefundRefused {
    fn from(_: CreditsOutOfRange) -> Self {
        RefundRefused::OutOfRange
    }
}

/// How much of an amount goes back to the plan pool, and how much to the extra pool. None: all that is left.
///
/// Extra credits were taken last and are given back first. Plan credits go back into the plan pool of now, whose end is theirs.
pub fn split(entry: Refundable, amount: Option<Credits>) -> Result<(Credits, Credits), RefundRefused> {
    if entry.kind != TransactionKind::Deduction {
        return Err(RefundRefused::NotADeduction);
    }
    let plan_left = entry.plan.negated().minus(entry.plan_refunded)?;
    let extra_left = entry.extra.negated().minus(entry.extra_refunded)?;
    let refundable = plan_left.plus(extra_left)?;
    let amount = amount.unwrap_or(refundable);
    if amount > refundable || amount <= Credits::ZERO {
        return Err(RefundRefused::TooMuch { refundable });
    }
    let to_extra = amount.min(extra_left);
    Ok((amount.minus(to_extra)?, to_extra))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_credits_go_back_first_and_never_more_than_was_taken() {
        let credits = |count: i64| Credits::new(count).unwrap();
        let taken = |plan_refunded: i64, extra_refunded: i64| Refundable {
            kind: TransactionKind::Deduction,
            plan: credits(-10),
            extra: credits(-5),
            plan_refunded: credits(plan_refunded),
            extra_refunded: credits(extra_refunded),
        };
        let split = |entry, amount: i64| split(entry, Some(credits(amount))).map(|(plan, extra)| (plan.get(), extra.get()));
        assert_eq!(split(taken(0, 0), 4), Ok((0, 4)));
        assert_eq!(split(taken(0, 0), 15), Ok((10, 5)));
        assert_eq!(split(taken(0, 4), 3), Ok((2, 1)));
        assert_eq!(split(taken(0, 4), 12), Err(RefundRefused::TooMuch { refundable: credits(11) }));
        assert_eq!(super::split(taken(10, 5), None), Err(RefundRefused::TooMuch { refundable: Credits::ZERO }));
        let grant = Refundable { kind: TransactionKind::Subscription, ..taken(0, 0) };
        assert_eq!(split(grant, 1), Err(RefundRefused::NotADeduction));
    }
}
