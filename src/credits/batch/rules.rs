//! What a batch of debits and holds writes, decided without I/O from what is known of each account.

use crate::{
    clock::Timestamp,
    credits::{
        holds::{
            model::{HoldWork, Shelf},
            rules::{Change, HoldRefused},
        },
        model::{Authority, Pools, Spend},
        pricing::model::Prices,
        rules::{Move, MoveRefused, price},
    },
    idempotency::model::Keyed,
    ids::AccountId,
    money::Credits,
};
use std::collections::HashMap;

/// What a request's right to spend rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warrant {
    /// The account's authority as the gate saw it when it let the sender in.
    pub authority: Authority,
    /// When that was.
    pub asked: Asked,
}

/// When the gate was asked for the sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// For this very request.
    Now,
    /// For one before it: once the authority is another one, he has to be asked for again.
    Before,
}

/// What is to be done in an account's ledger.
#[derive(Debug, Clone)]
pub enum Work {
    /// Spend at once.
    Debit(Spend),
    /// Place a hold, or settle one.
    Hold(HoldWork),
}

/// One request of a batch.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Who pays.
    pub account: AccountId,
    /// What for.
    pub work: Work,
    /// The client's key, if it sent one.
    pub key: Option<Keyed>,
    /// The pools as the request's authorisation saw them: a guess that the database confirms or refuses.
    pub guess: Option<Pools>,
    /// What it rests on: it is compared before anything is written or told.
    pub warrant: Warrant,
    /// The instant of the request.
    pub now: Timestamp,
}

impl Wanted {
    /// Whether it asks for a hold, which only the exact way can do.
    pub fn is_hold(&self) -> bool {
        matches!(self.work, Work::Hold(_))
    }

    /// The hold that it names.
    pub fn named_hold(&self) -> Option<i64> {
        match &self.work {
            Work::Hold(HoldWork::Capture { hold, .. } | HoldWork::Release { hold }) => Some(hold.id),
            Work::Hold(HoldWork::Place { .. }) | Work::Debit(_) => None,
        }
    }

    /// Who debits, where it is a debit.
    pub fn debtor(&self) -> Option<&str> {
        match &self.work {
            Work::Debit(spend) => Some(&spend.actor),
            Work::Hold(_) => None,
        }
    }
}

/// What becomes of one request, if the batch commits.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write this entry.
    Write(Move),
    /// Change this hold, and write the entry that pays for it where it is captured.
    Hold(Box<HoldDone>),
    /// The same request stands earlier in this batch: answer as that one, by its place.
    SameAs(usize),
    /// The key stands earlier in this batch, with other input.
    KeyReused,
    /// The pools refuse it.
    Refused(MoveRefused),
    /// The hold's state refuses it, or the pools do.
    HoldRefused(HoldRefused),
}

/// What becomes of a hold, and how the pools stand after it.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldDone {
    /// What becomes of it.
    pub change: Change,
    /// What a spend or another hold can take then.
    pub available: Credits,
    /// Both pools together then.
    pub balance: Credits,
}

impl Decision {
    /// Whether anything is written.
    pub fn is_effect(&self) -> bool {
        match self {
            Decision::Write(_) | Decision::Hold(_) => true,
            Decision::SameAs(_) | Decision::KeyReused | Decision::Refused(_) | Decision::HoldRefused(_) => false,
        }
    }

    /// The entry that it writes for a request, if it writes one.
    pub fn line<'a>(&'a self, wanted: &'a Wanted, prices: &Prices) -> Option<Line<'a>> {
        match (self, &wanted.work) {
            (Decision::Write(moved), Work::Debit(spend)) => {
                let unit_cost = prices.unit_cost(spend.operation, wanted.now);
                Some(Line { spend, unit_cost, moved: *moved, key: wanted.key.as_ref() })
            }
            (Decision::Hold(done), Work::Hold(_)) => match &done.change {
                // What a capture answers is more than its entry: its key stands beside the answer, and not in the entry.
                Change::Captured { hold, spend, moved } => Some(Line { spend, unit_cost: hold.unit_cost.get(), moved: *moved, key: None }),
                Change::Placed(_) | Change::Released(_) => None,
            },
            _ => None,
        }
    }
}

/// An entry that a batch writes.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// What is paid.
    pub spend: &'a Spend,
    /// Credits per unit.
    pub unit_cost: i64,
    /// How the pools move.
    pub moved: Move,
    /// The key that the entry answers for.
    pub key: Option<&'a Keyed>,
}

/// Decides a batch in the order of arrival, each account from its own pools.
///
/// `book` holds what is known of each account and is left as the batch leaves it; accounts that it lacks are not decided
/// (`None`). A key that the ledger knows already must be taken out before.
pub fn decide(batch: &[&Wanted], prices: &Prices, book: &mut Book) -> Vec<Option<Decision>> {
    let mut keys: HashMap<(AccountId, &str), usize> = HashMap::new();
    let mut decisions: Vec<Option<Decision>> = Vec::with_capacity(batch.len());
    for (place, wanted) in batch.iter().enumerate() {
        let first = wanted.key.as_ref().and_then(|keyed| keys.get(&(wanted.account, keyed.key.as_str())).copied());
        let decision = match first {
            Some(first) => Some(again(batch, first, wanted)),
            None => decide_one(wanted, prices, book),
        };
        // A send that was refused has written nothing: the next one is judged anew, with the same result.
        if let (Some(keyed), Some(true)) = (&wanted.key, decision.as_ref().map(Decision::is_effect)) {
            keys.insert((wanted.account, keyed.key.as_str()), place);
        }
        decisions.push(decision);
    }
    decisions
}

/// What is known of the accounts of a batch.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Their pools.
    pub pools: HashMap<AccountId, Pools>,
    /// Their holds; only of those of which a hold is wanted.
    pub shelves: HashMap<AccountId, Shelf>,
}

/// What an account is decided from; what is written is written only where its row is still so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Its pools.
    pub pools: Pools,
    /// The version of its authority.
    pub authority: i64,
}

impl Ground {
    /// Of an account of which nothing is known.
    pub const NONE: Ground = Ground { pools: Pools::EMPTY, authority: 0 };
}

/// A key that stands earlier in the batch, with an effect.
fn again(batch: &[&Wanted], first: usize, wanted: &Wanted) -> Decision {
    let hash = |wanted: &Wanted| wanted.key.as_ref().map(|keyed| keyed.input_hash);
    let is_same = batch.get(first).is_some_and(|first| hash(first) == hash(wanted));
    if is_same { Decision::SameAs(first) } else { Decision::KeyReused }
}

fn decide_one(wanted: &Wanted, prices: &Prices, book: &mut Book) -> Option<Decision> {
    let pools = book.pools.get_mut(&wanted.account)?;
    Some(match &wanted.work {
        Work::Debit(spend) => match moved(spend, prices, *pools, wanted.now) {
            Err(refused) => Decision::Refused(refused),
            Ok(moved) => {
                *pools = moved.after;
                Decision::Write(moved)
            }
        },
        Work::Hold(work) => match book.shelves.get_mut(&wanted.account)?.decide(work, pools, prices, wanted.now) {
            Err(refused) => Decision::HoldRefused(refused),
            Ok(change) => Decision::Hold(Box::new(HoldDone { change, available: pools.available(), balance: pools.total() })),
        },
    })
}

fn moved(spend: &Spend, prices: &Prices, pools: Pools, now: Timestamp) -> Result<Move, MoveRefused> {
    pools.spend(price(spend.operation, spend.quantity, prices.unit_cost(spend.operation, now))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credits::{
        holds::model::{HoldSeconds, Named, Reach},
        model::{Metadata, Operation, Quantity},
    };

    fn words_of(words: i64) -> Spend {
        Spend {
            operation: Operation::ContentGeneration,
            quantity: Quantity::new(words).unwrap(),
            description: None,
            metadata: Metadata::default(),
            reference: None,
            actor: "user:1".to_owned(),
        }
    }

    fn wanted(account: i64, words: i64, key: Option<(&str, u8)>) -> Wanted {
        Wanted {
            account: AccountId(account),
            work: Work::Debit(words_of(words)),
            key: key.map(|(key, hash)| Keyed { key: key.to_owned(), input_hash: [hash; 32] }),
            guess: None,
            warrant: Warrant { authority: Authority::default(), asked: Asked::Now },
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn book(known: impl IntoIterator<Item = (i64, i64)>) -> Book {
        let known = known.into_iter().collect::<Vec<_>>();
        Book {
            pools: known.iter().map(|(account, plan)| (AccountId(*account), pools(*plan))).collect(),
            shelves: known.iter().map(|(account, _)| (AccountId(*account), Shelf::default())).collect(),
        }
    }

    fn pools(plan: i64) -> Pools {
        Pools { plan: Credits::new(plan).unwrap(), last_seq: 4, ..Pools::EMPTY }
    }

    #[test]
    fn each_spend_has_its_own_outcome_in_the_order_of_arrival() {
        let batch = [wanted(1, 600, None), wanted(2, 100, None), wanted(1, 500, None), wanted(1, 400, None), wanted(3, 100, None)];
        let mut known = book([(1, 10), (2, 1)]);

        let decisions = decide(&batch.iter().collect::<Vec<_>>(), &Prices::default(), &mut known);

        let after = |decision: &Option<Decision>| match decision {
            Some(Decision::Write(moved)) => Some((moved.after.plan.get(), moved.after.last_seq)),
            _ => None,
        };
        assert_eq!(decisions.iter().map(after).collect::<Vec<_>>(), [Some((4, 5)), Some((0, 5)), None, Some((0, 6)), None]);
        assert!(
            matches!(decisions[2], Some(Decision::Refused(MoveRefused::Insufficient { .. }))),
            "its neighbours are served all the same"
        );
        assert_eq!(decisions[4], None, "nothing is known of account 3");
    }

    #[test]
    fn a_key_twice_in_a_batch_has_one_effect_unless_the_first_was_refused() {
        let batch = [
            wanted(1, 100, Some(("k", 1))),
            wanted(1, 100, Some(("k", 1))),
            wanted(1, 100, Some(("k", 2))),
            wanted(2, 900, Some(("k", 1))),
            wanted(2, 900, Some(("k", 1))),
        ];
        let mut known = book([(1, 10), (2, 1)]);

        let decisions = decide(&batch.iter().collect::<Vec<_>>(), &Prices::default(), &mut known);

        assert_eq!((&decisions[1], &decisions[2]), (&Some(Decision::SameAs(0)), &Some(Decision::KeyReused)));
        assert!(matches!((&decisions[3], &decisions[4]), (Some(Decision::Refused(_)), Some(Decision::Refused(_)))));
        assert_eq!(known.pools[&AccountId(1)].plan.get(), 9);
    }

    #[test]
    fn holds_and_debits_of_an_account_are_decided_in_the_order_of_arrival() {
        let hold = |work: HoldWork, key: Option<(&str, u8)>| Wanted { work: Work::Hold(work), ..wanted(1, 1, key) };
        let place = |words: i64, key| hold(HoldWork::Place { spend: words_of(words), lasts: HoldSeconds::DEFAULT }, key);
        let named = Named { id: 1, actor: "user:1".to_owned(), reach: Reach::Account };
        let capture = HoldWork::Capture { hold: named, quantity: Quantity::new(300) };
        let batch = [
            place(600, Some(("k", 1))),
            wanted(1, 500, None),
            wanted(1, 100, Some(("k", 9))),
            place(600, Some(("k", 1))),
            hold(capture.clone(), None),
            hold(capture, None),
            wanted(1, 700, None),
        ];
        let mut known = book([(1, 10)]);

        let decisions = decide(&batch.iter().collect::<Vec<_>>(), &Prices::default(), &mut known);

        let told = decisions.iter().map(|decision| match decision {
            Some(Decision::Hold(done)) => format!("hold {} of {}", done.available, done.balance),
            Some(Decision::Write(moved)) => format!("debit {}", moved.after.total()),
            Some(Decision::Refused(_)) => "refused".to_owned(),
            other => format!("{:?}", other.as_ref().unwrap()),
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            ["hold 4 of 10", "refused", "KeyReused", "SameAs(0)", "hold 7 of 7", "HoldRefused(NotOpen { status: Captured })", "debit 0"]
        );
    }
}
