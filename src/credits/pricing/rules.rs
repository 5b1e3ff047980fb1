//! Which price applies when, and how much credits can pay for. No I/O.

use super::model::{Job, JobQuote, NextCost, OperationCost, Price, Prices, QuotedItem};
use crate::{
    clock::Timestamp,
    credits::{
        model::{Operation, Unit},
        rules::price,
    },
    money::{Credits, CreditsOutOfRange},
};

impl Price {
    /// Credits per unit at an instant. What was before the present price is not asked: it stands in the entries.
    pub fn at(self, instant: Timestamp) -> i64 {
        match self.next {
            Some((effective_from, cost)) if effective_from <= instant => cost,
            _ => self.cost,
        }
    }

    /// The price to come, as long as it is to come.
    pub fn next_after(self, instant: Timestamp) -> Option<(Timestamp, i64)> {
        self.next.filter(|(effective_from, _)| instant < *effective_from)
    }

    /// The price after somebody sets another at `now`: from an instant on, in the place of what else was to come; or at once,
    /// and then what is to come still comes. `None` where the past would change.
    pub fn changed(self, cost: i64, effective_from: Timestamp, now: Timestamp) -> Option<Price> {
        if effective_from < now {
            return None;
        }
        Some(if now < effective_from {
            Price { cost: self.at(now), next: Some((effective_from, cost)) }
        } else {
            Price { cost, next: self.next_after(now) }
        })
    }
}

impl Prices {
    /// Credits per unit of an operation at an instant.
    pub fn unit_cost(&self, operation: Operation, instant: Timestamp) -> i64 {
        self.edited.get(&operation).map_or(operation.default_cost(), |price| price.at(instant))
    }

    /// Every operation with its price at an instant, and the one to come.
    pub fn listed(&self, instant: Timestamp) -> Vec<OperationCost> {
        Operation::ALL.iter().map(|operation| self.cost(*operation, instant)).collect()
    }

    /// An operation with its price at an instant, and the one to come.
    pub fn cost(&self, operation: Operation, instant: Timestamp) -> OperationCost {
        let credits = |cost: i64| Credits::new(cost).unwrap_or_default();
        let next = self.edited.get(&operation).and_then(|price| price.next_after(instant));
        OperationCost {
            operation,
            unit: operation.unit(),
            cost: credits(self.unit_cost(operation, instant)),
            next: next.map(|(effective_from, cost)| NextCost { cost: credits(cost), effective_from }),
        }
    }
}

/// What a job would cost, and how much of it the available credits pay for.
pub fn quote(job: &Job, prices: &Prices, available: Credits, now: Timestamp) -> Result<JobQuote, CreditsOutOfRange> {
    let (mut items, mut total, mut rest) = (Vec::with_capacity(job.0.len()), Credits::ZERO, available);
    for item in &job.0 {
        let unit_cost = prices.unit_cost(item.operation, now);
        let cost = price(item.operation, item.quantity, unit_cost)?;
        let affordable = if cost <= rest {
            rest = rest.minus(cost)?;
            item.quantity.get()
        } else {
            // What is left over from here pays for nothing that comes later: the job stops here.
            let affordable = payable(item.operation, unit_cost, rest).unwrap_or(0).min(item.quantity.get());
            rest = Credits::ZERO;
            affordable
        };
        let affordable_alone = payable(item.operation, unit_cost, available);
        total = total.plus(cost)?;
        let unit_cost = Credits::new(unit_cost)?;
        items.push(QuotedItem { operation: item.operation, quantity: item.quantity, unit_cost, cost, affordable, affordable_alone });
    }
    let affordable = available.get().checked_div(total.get());
    Ok(JobQuote { items, total, available, sufficient: total <= available, affordable })
}

/// How many of an operation so many credits pay for; `None` where it costs nothing.
fn payable(operation: Operation, unit_cost: i64, credits: Credits) -> Option<i64> {
    let units = credits.get().checked_div(unit_cost)?;
    Some(match operation.unit() {
        Unit::Run | Unit::Idea | Unit::Image => units,
        Unit::HundredWords => units.saturating_mul(100),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credits::{model::Quantity, pricing::model::JobItem};
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_price_applies_from_its_very_instant_and_never_to_the_past() {
        let price = Price { cost: 10, next: None };
        let micro = chrono::TimeDelta::microseconds(1);

        let scheduled = price.changed(12, at(100), at(50)).unwrap();

        assert_eq!([at(50), at(100) - micro, at(100), at(100) + micro].map(|instant| scheduled.at(instant)), [10, 10, 12, 12]);
        assert_eq!(scheduled.changed(9, at(49), at(50)), None);
        let at_once = scheduled.changed(11, at(60), at(60)).unwrap();
        assert_eq!([at(60), at(99), at(100)].map(|instant| at_once.at(instant)), [11, 11, 12], "what was to come still comes");
        let instead = scheduled.changed(20, at(80), at(60)).unwrap();
        assert_eq!([at(79), at(80), at(100)].map(|instant| instead.at(instant)), [10, 20, 20], "one change to come at a time");
        let later = scheduled.changed(15, at(300), at(200)).unwrap();
        assert_eq!([at(200), at(299), at(300)].map(|instant| later.at(instant)), [12, 12, 15], "what has come is the price");
    }

    proptest! {
        /// What a quote calls affordable can be paid for, and one more could not.
        #[test]
        fn what_is_affordable_is_the_most_that_is(quantities in prop::collection::vec((0usize..5, 1i64..3_000), 1..6), available in 0i64..200, unit_cost in 0i64..7) {
            let job = Job(quantities.iter().map(|(operation, quantity)| JobItem { operation: Operation::ALL[*operation], quantity: Quantity::new(*quantity).unwrap() }).collect());
            let prices = Operation::ALL.iter().map(|operation| (*operation, Price { cost: unit_cost, next: None })).collect::<Prices>();
            let credits = Credits::new(available).unwrap();

            let quote = quote(&job, &prices, credits, at(0)).unwrap();

            let cost = |operation: Operation, quantity: i64| Quantity::new(quantity).map_or(0, |quantity| price(operation, quantity, unit_cost).unwrap().get());
            let mut spent = 0;
            for item in &quote.items {
                let next = spent + cost(item.operation, item.affordable);
                prop_assert!(next <= available);
                if item.affordable < item.quantity.get() {
                    prop_assert!(spent + cost(item.operation, item.affordable + 1) > available);
                    break;
                }
                spent = next;
            }
            prop_assert_eq!(quote.sufficient, quote.items.iter().all(|item| item.affordable == item.quantity.get()));
            prop_assert_eq!(quote.sufficient, quote.affordable.is_none_or(|times| times >= 1));
        }
    }
}
