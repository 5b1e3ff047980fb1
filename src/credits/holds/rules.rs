//! What becomes of holds. No I/O.

use super::model::{Hold, HoldSeconds, HoldStatus, HoldWork, Named, Reach, Shelf};
use crate::{
    clock::Timestamp,
    credits::{
        model::{Pools, Quantity, Spend},
        pricing::model::Prices,
        rules::{Move, MoveRefused, price},
    },
    money::{Credits, CreditsOutOfRange},
};
use chrono::TimeDelta;

/// Open holds that one account may have at once.
pub const OPEN_MAX: i64 = 1_000;

/// Why a hold was not placed or settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefused {
    /// None of that number, or none that he may settle.
    #[error("the account has no such hold")]
    NotFound,
    /// It was settled before.
    #[error("the hold is {status}")]
    NotOpen {
        /// What became of it.
        status: HoldStatus,
    },
    /// More was done than was held.
    #[error("{given} is more than the {held} held")]
    TooMuch {
        /// What is to be captured.
        given: i64,
        /// The hold's quantity.
        held: i64,
    },
    /// As many are open as may be.
    #[error("the account has too many open holds")]
    TooMany,
    /// The pools can't move so.
    #[error(transparent)]
    Pools(#[from] MoveRefused),
}

impl From<CreditsOutOfRange> for HoldRefused {
    fn from(error: CreditsOutOfRange) -> Self {
        HoldRefused::Pools(error.into())
    }
}

/// What becomes of one hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new one, open.
    Placed(Hold),
    /// Paid by this entry.
    Captured {
        /// As it is after that.
        hold: Hold,
        /// What is paid.
        spend: Spend,
        /// How the pools move.
        moved: Move,
    },
    /// Let go.
    Released(Hold),
}

impl Change {
    /// The hold as it is after it.
    pub fn hold(&self) -> &Hold {
        match self {
            Change::Placed(hold) | Change::Captured { hold, .. } | Change::Released(hold) => hold,
        }
    }
}

impl Hold {
    /// As it stands at `now`: one that is over is expired, also where that is not written down yet.
    pub fn as_of(mut self, now: Timestamp) -> Self {
        if self.status == HoldStatus::Open && self.expires_at <= now {
            self.status = HoldStatus::Expired;
            self.settled_at = Some(self.expires_at);
        }
        self
    }
}

impl Shelf {
    /// Decides one piece of work, and leaves shelf and pools as it leaves them. What is refused changes nothing.
    pub fn decide(&mut self, work: &HoldWork, pools: &mut Pools, prices: &Prices, now: Timestamp) -> Result<Change, HoldRefused> {
        let (change, after) = match work {
            HoldWork::Place { spend, lasts } => self.place(spend, *lasts, *pools, prices, now)?,
            HoldWork::Capture { hold, quantity } => capture(self.open(hold, now)?, &hold.actor, *quantity, *pools, now)?,
            HoldWork::Release { hold } => release(self.open(hold, now)?, *pools, now)?,
        };
        *pools = after;
        match &change {
            Change::Placed(hold) => (self.last_seq, self.open) = (hold.id, self.open + 1),
            Change::Captured { .. } | Change::Released(_) => self.open -= 1,
        }
        // It may be named again by what waits behind.
        self.named.insert(change.hold().id, change.hold().clone());
        Ok(change)
    }

    fn place(
        &self,
        spend: &Spend,
        lasts: HoldSeconds,
        pools: Pools,
        prices: &Prices,
        now: Timestamp,
    ) -> Result<(Change, Pools), HoldRefused> {
        let unit_cost = prices.unit_cost(spend.operation, now);
        let amount = price(spend.operation, spend.quantity, unit_cost)?;
        let after = pools.hold(amount)?;
        if self.open >= OPEN_MAX {
            return Err(HoldRefused::TooMany);
        }
        let hold = Hold {
            id: self.last_seq + 1,
            status: HoldStatus::Open,
            amount,
            operation: spend.operation,
            quantity: spend.quantity,
            unit_cost: Credits::new(unit_cost)?,
            description: spend.description(),
            metadata: spend.metadata.clone(),
            reference: spend.reference.clone(),
            actor: spend.actor.clone(),
            created_at: now,
            expires_at: now + TimeDelta::seconds(lasts.get()),
            settled_at: None,
            captured_quantity: None,
            transaction_id: None,
        };
        Ok((Change::Placed(hold), after))
    }

    /// The hold that somebody names, while it is open and his to settle. What is not his looks like what is not there.
    fn open(&self, named: &Named, now: Timestamp) -> Result<Hold, HoldRefused> {
        let is_his = |hold: &&Hold| match named.reach {
            Reach::Account => true,
            Reach::Own => hold.actor == named.actor,
        };
        let hold = self.named.get(&named.id).filter(is_his).cloned().ok_or(HoldRefused::NotFound)?.as_of(now);
        match hold.status {
            HoldStatus::Open => Ok(hold),
            status @ (HoldStatus::Captured | HoldStatus::Released | HoldStatus::Expired | HoldStatus::Displaced) => {
                Err(HoldRefused::NotOpen { status })
            }
        }
    }
}

/// Pays what was done at the price of then, and lets the rest go.
fn capture(hold: Hold, actor: &str, quantity: Option<Quantity>, pools: Pools, now: Timestamp) -> Result<(Change, Pools), HoldRefused> {
    let quantity = quantity.unwrap_or(hold.quantity);
    if quantity.get() > hold.quantity.get() {
        return Err(HoldRefused::TooMuch { given: quantity.get(), held: hold.quantity.get() });
    }
    let moved = pools.let_go(hold.amount)?.spend(price(hold.operation, quantity, hold.unit_cost.get())?)?;
    let spend = Spend {
        operation: hold.operation,
        quantity,
        description: Some(hold.description.clone()),
        metadata: hold.metadata.clone(),
        reference: hold.reference.clone(),
        actor: actor.to_owned(),
    };
    let hold = Hold {
        status: HoldStatus::Captured,
        settled_at: Some(now),
        captured_quantity: Some(quantity.get()),
        transaction_id: Some(moved.after.last_seq),
        ..hold
    };
    Ok((Change::Captured { hold, spend, moved }, moved.after))
}

fn release(hold: Hold, pools: Pools, now: Timestamp) -> Result<(Change, Pools), HoldRefused> {
    let after = pools.let_go(hold.amount)?;
    Ok((Change::Released(Hold { status: HoldStatus::Released, settled_at: Some(now), ..hold }), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credits::{
        model::{Metadata, Operation},
        pricing::model::Price,
    };
    use proptest::prelude::*;

    const MICRO: TimeDelta = TimeDelta::microseconds(1);

    fn credits(count: i64) -> Credits {
        Credits::new(count).unwrap()
    }

    fn pools(plan: i64, extra: i64) -> Pools {
        Pools { plan: credits(plan), extra: credits(extra), held: Credits::ZERO, last_seq: 7 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn place(words: i64, seconds: i64) -> HoldWork {
        let spend = Spend {
            operation: Operation::ContentGeneration,
            quantity: Quantity::new(words).unwrap(),
            description: None,
            metadata: Metadata::default(),
            reference: None,
            actor: "site:3".to_owned(),
        };
        HoldWork::Place { spend, lasts: HoldSeconds::new(seconds).unwrap() }
    }

    fn named(actor: &str, reach: Reach) -> Named {
        Named { id: 1, actor: actor.to_owned(), reach }
    }

    fn capture_all() -> HoldWork {
        HoldWork::Capture { hold: named("user:7", Reach::Account), quantity: None }
    }

    /// A shelf with one hold of 10 credits for 60 seconds from 0 on, and the pools under it.
    fn one_hold() -> (Shelf, Pools) {
        let (mut shelf, mut pools) = (Shelf::default(), pools(8, 4));
        shelf.decide(&place(1_000, 60), &mut pools, &Prices::default(), at(0)).unwrap();
        (shelf, pools)
    }

    #[test]
    fn a_hold_can_be_settled_until_the_last_microsecond_and_not_from_its_end_on() {
        for work in [capture_all(), HoldWork::Release { hold: named("user:7", Reach::Account) }] {
            for (instant, is_open) in [(at(60) - MICRO, true), (at(60), false), (at(60) + MICRO, false)] {
                let (mut shelf, mut pools) = one_hold();

                let settled = shelf.decide(&work, &mut pools, &Prices::default(), instant);

                let expired = HoldRefused::NotOpen { status: HoldStatus::Expired };
                assert_eq!(settled.as_ref().err(), (!is_open).then_some(&expired), "{work:?} at {instant}");
            }
        }
    }

    #[test]
    fn a_hold_is_settled_once_and_says_what_became_of_it() {
        let release = HoldWork::Release { hold: named("user:7", Reach::Account) };
        for (first, status) in [(capture_all(), HoldStatus::Captured), (release.clone(), HoldStatus::Released)] {
            let (mut shelf, mut pools) = one_hold();
            shelf.decide(&first, &mut pools, &Prices::default(), at(1)).unwrap();

            for second in [capture_all(), release.clone()] {
                let before = pools;
                assert_eq!(shelf.decide(&second, &mut pools, &Prices::default(), at(2)), Err(HoldRefused::NotOpen { status }));
                assert_eq!(pools, before, "what is refused changes nothing");
            }
        }
    }

    #[test]
    fn a_capture_pays_the_price_of_then_for_what_was_done_and_lets_the_rest_go() {
        let dearer = [(Operation::ContentGeneration, Price { cost: 9, next: None })].into_iter().collect::<Prices>();
        let part = |words: i64| HoldWork::Capture { hold: named("user:7", Reach::Account), quantity: Quantity::new(words) };

        for (words, paid) in [(1, 1), (100, 1), (101, 2), (1_000, 10)] {
            let (mut shelf, mut pools) = one_hold();
            shelf.decide(&part(words), &mut pools, &dearer, at(1)).unwrap();
            assert_eq!((pools.total(), pools.held, pools.last_seq), (credits(12 - paid), Credits::ZERO, 8), "{words} words");
        }
        let (mut shelf, mut pools) = one_hold();
        let refused = shelf.decide(&part(1_001), &mut pools, &dearer, at(1));
        assert_eq!(refused, Err(HoldRefused::TooMuch { given: 1_001, held: 1_000 }));
    }

    #[test]
    fn a_site_settles_only_what_it_placed_itself() {
        let (shelf, pools) = one_hold();
        let release = |actor: &str, reach| {
            let work = HoldWork::Release { hold: named(actor, reach) };
            shelf.clone().decide(&work, &mut pools.clone(), &Prices::default(), at(1)).map(|_| ())
        };

        assert_eq!(release("site:3", Reach::Own), Ok(()));
        assert_eq!(release("site:4", Reach::Own), Err(HoldRefused::NotFound));
        assert_eq!(release("user:7", Reach::Account), Ok(()));
    }

    #[test]
    fn a_thousand_are_open_at_once_and_the_next_one_waits_for_one_of_them() {
        let (mut shelf, mut pools) = one_hold();
        shelf.open = OPEN_MAX;

        let full = shelf.decide(&place(1, 60), &mut pools, &Prices::default(), at(1));
        shelf.decide(&capture_all(), &mut pools, &Prices::default(), at(1)).unwrap();
        let after = shelf.decide(&place(1, 60), &mut pools, &Prices::default(), at(1));

        assert_eq!((full, after.unwrap().hold().id), (Err(HoldRefused::TooMany), 2));
    }

    proptest! {
        /// Whatever is placed, captured and released: what is held is the sum of the open holds, and never more than there is.
        #[test]
        fn held_is_the_sum_of_open_holds(works in prop::collection::vec((0u8..3, 1i64..12, 1i64..900, 1i64..90), 1..60)) {
            let (mut shelf, mut pools) = (Shelf::default(), pools(20, 15));
            for (second, (kind, id, words, lasts)) in (0i64..).zip(works) {
                let hold = Named { id, ..named("user:7", Reach::Account) };
                let work = match kind {
                    0 => place(words, lasts + 100),
                    1 => HoldWork::Capture { hold, quantity: Quantity::new(words) },
                    _ => HoldWork::Release { hold },
                };
                let _ = shelf.decide(&work, &mut pools, &Prices::default(), at(second));
                let open = shelf.named.values().filter(|hold| hold.status == HoldStatus::Open).collect::<Vec<_>>();
                prop_assert_eq!(open.iter().map(|hold| hold.amount.get()).sum::<i64>(), pools.held.get());
                prop_assert_eq!(i64::try_from(open.len()).unwrap(), shelf.open);
                prop_assert!(Credits::ZERO <= pools.held && pools.held <= pools.total());
            }
        }
    }
}
