//! What things cost and which pool pays. No I/O: every decision of the ledger can be tested here.

use super::model::{Operation, Pools, Quantity, Unit};
use crate::money::{Credits, CreditsOutOfRange};

impl Operation {
    /// What its price is counted by (requirements, section 1).
    pub fn unit(self) -> Unit {
        match self {
            Operation::Clustering | Operation::ImagePromptExtraction => Unit::Run,
            Operation::IdeaGeneration => Unit::Idea,
            Operation::ContentGeneration => Unit::HundredWords,
            Operation::ImageGeneration => Unit::Image,
        }
    }

    /// Credits per unit where the price table has no row (requirements, section 1).
    pub fn default_cost(self) -> i64 {
        match self {
            Operation::Clustering => 10,
            Operation::IdeaGeneration | Operation::ImagePromptExtraction => 2,
            Operation::ContentGeneration => 1,
            Operation::ImageGeneration => 5,
        }
    }
}

/// What so many of an operation cost at so much per unit. Hundreds of words are rounded up.
pub fn price(operation: Operation, quantity: Quantity, unit_cost: i64) -> Result<Credits, CreditsOutOfRange> {
    let units = match operation.unit() {
        Unit::Run | Unit::Idea | Unit::Image => quantity.get(),
        Unit::HundredWords => quantity.get().div_euclid(100) + i64::from(quantity.get() % 100 > 0),
    };
    Credits::new(units.checked_mul(unit_cost).ok_or(CreditsOutOfRange)?)
}

/// A move of both pools, and where they stand after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Signed change of the plan pool.
    pub plan: Credits,
    /// Signed change of the extra pool.
    pub extra: Credits,
    /// Both pools and the entry's number after it.
    pub after: Pools,
}

/// Why the pools can't move so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// Not enough in both pools together.
    #[error("{required} credits are needed and {available} are available")]
    Insufficient {
        /// What the spend takes.
        required: Credits,
        /// What there is.
        available: Credits,
    },
    /// Past what a balance can hold.
    #[error("the balance would leave its limits")]
    OutOfRange,
}

impl From<CreditsOutOfRange> for MoveRefused {
    fn from(_: CreditsOutOfRange) -> Self {
        MoveRefused::OutOfRange
    }
}

impl Pools {
    /// An account's pools before its first entry.
    pub const EMPTY: Pools = Pools { plan: Credits::ZERO, extra: Credits::ZERO, held: Credits::ZERO, last_seq: 0 };

    /// Both together.
    pub fn total(self) -> Credits {
        self.plan.plus(self.extra).unwrap_or(Credits::MAX)
    }

    /// What a spend or a hold can take: both pools but for what is held.
    pub fn available(self) -> Credits {
        self.total().minus(self.held).unwrap_or(Credits::ZERO).max(Credits::ZERO)
    }

    /// Takes an amount of what is available: from the plan pool first, from the extra pool what is missing.
    pub fn spend(self, amount: Credits) -> Result<Move, MoveRefused> {
        let available = self.available();
        if amount > available {
            return Err(MoveRefused::Insufficient { required: amount, available });
        }
        let from_plan = amount.min(self.plan);
        self.moved(from_plan.negated(), amount.minus(from_plan)?.negated())
    }

    /// Reserves an amount of what is available.
    pub fn hold(self, amount: Credits) -> Result<Pools, MoveRefused> {
        let available = self.available();
        if amount > available {
            return Err(MoveRefused::Insufficient { required: amount, available });
        }
        Ok(Pools { held: self.held.plus(amount)?, ..self })
    }

    /// Lets go what a hold reserved.
    pub fn let_go(self, amount: Credits) -> Result<Pools, MoveRefused> {
        Ok(Pools { held: self.held.minus(amount)?, ..self })
    }

    /// Takes away what is left of the plan pool; nothing to do when it is empty.
    pub fn expire_plan(self) -> Result<Option<Move>, MoveRefused> {
        if self.plan == Credits::ZERO { Ok(None) } else { self.moved(self.plan.negated(), Credits::ZERO).map(Some) }
    }

    /// Takes away what is left of a lot of the extra pool; nothing to do when it is spent.
    pub fn expire_extra(self, amount: Credits) -> Result<Option<Move>, MoveRefused> {
        if amount == Credits::ZERO { Ok(None) } else { self.moved(Credits::ZERO, amount.negated()).map(Some) }
    }

    /// Gives credits back to the pools that they came from.
    pub fn refund(self, plan: Credits, extra: Credits) -> Result<Move, MoveRefused> {
        self.moved(plan, extra)
    }

    /// Fills the plan pool for a period; nothing to do for a plan without credits.
    pub fn grant_plan(self, amount: Credits) -> Result<Option<Move>, MoveRefused> {
        if amount == Credits::ZERO { Ok(None) } else { self.moved(amount, Credits::ZERO).map(Some) }
    }

    /// Takes back so much of the plan pool, or what is left of it; nothing to do when that is nothing.
    pub fn take_plan(self, amount: Credits) -> Result<Option<Move>, MoveRefused> {
        let taken = amount.min(self.plan);
        if taken == Credits::ZERO { Ok(None) } else { self.moved(taken.negated(), Credits::ZERO).map(Some) }
    }

    /// Moves the extra pool up or down by staff's hand.
    pub fn adjust_extra(self, amount: Credits) -> Result<Move, MoveRefused> {
        if amount < Credits::ZERO { self.spend(amount.negated()) } else { self.moved(Credits::ZERO, amount) }
    }

    fn moved(self, plan: Credits, extra: Credits) -> Result<Move, MoveRefused> {
        let after = Pools { plan: self.plan.plus(plan)?, extra: self.extra.plus(extra)?, last_seq: self.last_seq + 1, ..self };
        after.plan.plus(after.extra)?;
        Ok(Move { plan, extra, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credits(count: i64) -> Credits {
        Credits::new(count).unwrap()
    }

    fn pools(plan: i64, extra: i64) -> Pools {
        Pools { plan: credits(plan), extra: credits(extra), held: Credits::ZERO, last_seq: 7 }
    }

    #[test]
    fn each_operation_costs_what_the_requirements_say() {
        let cost = |operation: Operation, quantity: i64| {
            price(operation, Quantity::new(quantity).unwrap(), operation.default_cost()).unwrap().get()
        };
        assert_eq!(cost(Operation::Clustering, 1), 10);
        assert_eq!(cost(Operation::IdeaGeneration, 3), 6);
        assert_eq!(cost(Operation::ImageGeneration, 2), 10);
        assert_eq!(cost(Operation::ImagePromptExtraction, 1), 2);
        let words = [(1, 1), (99, 1), (100, 1), (101, 2), (1_000, 10), (1_001, 11)];
        assert!(words.iter().all(|(words, credits)| cost(Operation::ContentGeneration, *words) == *credits));
    }

    #[test]
    fn plan_credits_are_spent_before_extra_credits() {
        let spent = pools(10, 5).spend(credits(12)).unwrap();
        assert_eq!((spent.plan, spent.extra), (credits(-10), credits(-2)));
        assert_eq!(spent.after, Pools { last_seq: 8, ..pools(0, 3) });
        let refused = pools(10, 5).spend(credits(16)).unwrap_err();
        assert_eq!(refused, MoveRefused::Insufficient { required: credits(16), available: credits(15) });
    }

    #[test]
    fn what_is_held_is_there_and_can_not_be_taken() {
        let held = pools(10, 5).hold(credits(12)).unwrap();

        assert_eq!((held.total(), held.available(), held.let_go(credits(12))), (credits(15), credits(3), Ok(pools(10, 5))));
        let refused = MoveRefused::Insufficient { required: credits(4), available: credits(3) };
        assert_eq!((held.spend(credits(4)), held.hold(credits(4))), (Err(refused), Err(refused)));
        assert_eq!(held.spend(credits(3)).unwrap().after, Pools { last_seq: 8, held: credits(12), ..pools(7, 5) });
        // As after a reset, before the newest holds are displaced.
        assert_eq!(Pools { held: credits(9), ..pools(2, 0) }.available(), credits(0));
    }

    #[test]
    fn what_costs_nothing_can_always_be_spent_and_is_an_entry() {
        let spent = pools(0, 0).spend(Credits::ZERO).unwrap();

        assert_eq!((spent.plan, spent.extra, spent.after), (Credits::ZERO, Credits::ZERO, Pools { last_seq: 8, ..pools(0, 0) }));
    }

    proptest! {
        /// Whatever is spent: nothing is lost, nothing goes below zero, and the extra pool is touched last.
        #[test]
        fn a_spend_moves_exactly_its_amount(plan in 0i64..1_000_000, extra in 0i64..1_000_000, amount in 1i64..3_000_000) {
            let before = pools(plan, extra);
            match before.spend(credits(amount)) {
                Ok(spent) => {
                    prop_assert_eq!(spent.plan.plus(spent.extra).unwrap(), credits(-amount));
                    prop_assert_eq!(spent.after.total(), credits(plan + extra - amount));
                    prop_assert!(spent.after.plan >= Credits::ZERO && spent.after.extra >= Credits::ZERO);
                    prop_assert!(spent.extra == Credits::ZERO || spent.after.plan == Credits::ZERO);
                }
                Err(_) => prop_assert!(amount > plan + extra),
            }
        }
    }
}
