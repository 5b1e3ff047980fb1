//! What needs a second admin, and who may be one. No I/O.

use super::model::{Approval, ApprovalKind, ApprovalStatus};
use crate::{
    ids::UserId,
    money::{Credits, Money},
    plans::model::Plan,
};

/// Days in which an order can be approved.
pub const DAYS_TO_JUDGE: u16 = 7;
/// Characters of an order's summary at the most.
pub const SUMMARY_CHARS_MAX: usize = 500;

/// Above which amounts a second admin must approve; none: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thresholds {
    /// Credits that one order moves.
    pub credits: Option<Credits>,
    /// Money by which one order is another than what is owed, or that a plan costs.
    pub money: Option<Money>,
}

impl Thresholds {
    /// Whether so many credits, given or taken, need it.
    pub fn asks_for_credits(self, amount: Credits) -> bool {
        self.credits.is_some_and(|most| amount > most || amount.negated() > most)
    }

    /// Whether this plan, set by hand, needs it.
    pub fn asks_for_plan(self, plan: &Plan) -> bool {
        self.asks_for_credits(plan.credits_per_month) || self.money.is_some_and(|most| plan.price > most)
    }
}

/// Whether the difference between two amounts is above a threshold.
pub fn differs_by_more(most: Option<Money>, one: Money, other: Money) -> bool {
    most.is_some_and(|most| one.less(other).max(other.less(one)) > most)
}

/// Why an admin may not approve an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// It was judged before, or is over.
    #[error("the order is {0}")]
    NotPending(ApprovalStatus),
    /// He asked for it himself.
    #[error("who asks can't approve")]
    Own,
    /// Plans are set by developers only (A3), and so approved.
    #[error("a developer approves plans")]
    NotDeveloper,
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// A billing admin.
    Admin(UserId),
    /// A developer, who may set plans.
    Developer(UserId),
}

impl Judge {
    /// His number.
    pub fn user(self) -> UserId {
        match self {
            Judge::Admin(user) | Judge::Developer(user) => user,
        }
    }
}

/// Whether the order can be approved by him now.
pub fn may_approve(order: &Approval, judge: Judge) -> Result<(), NotApproved> {
    match (order.status, order.kind, judge) {
        (ApprovalStatus::Approved | ApprovalStatus::Rejected | ApprovalStatus::Expired, _, _) => Err(NotApproved::NotPending(order.status)),
        (ApprovalStatus::Pending, _, _) if order.asked_by == judge.user() => Err(NotApproved::Own),
        (ApprovalStatus::Pending, ApprovalKind::Plan, Judge::Admin(_)) => Err(NotApproved::NotDeveloper),
        (ApprovalStatus::Pending, ApprovalKind::Plan | ApprovalKind::Credits | ApprovalKind::Transfer, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_exactly_the_threshold_needs_nobody() {
        let credits = |amount| Credits::new(amount).unwrap();
        let some = Thresholds { credits: Some(credits(1_000)), money: None };

        for (amount, asks) in [(1_000, false), (1_001, true), (-1_000, false), (-1_001, true), (0, false)] {
            assert_eq!(some.asks_for_credits(credits(amount)), asks, "{amount}");
            assert!(!Thresholds::default().asks_for_credits(credits(amount)));
        }
        let money = |text: &str| text.parse::<Money>().unwrap();
        let differs = |one, other| differs_by_more(Some(money("10")), money(one), money(other));
        assert_eq!((differs("89", "79"), differs("89", "78.99"), differs("99.01", "89")), (false, true, true));
        assert!(!differs_by_more(None, money("89"), money("0")));
    }
}
