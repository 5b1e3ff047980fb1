//! What a batch of spends writes, decided without I/O from what is known of each account.

use crate::{
    clock::Timestamp,
    credits::{
        model::{Pools, Spend},
        pricing::model::Prices,
        rules::{Move, MoveRefused, price},
    },
    idempotency::model::Keyed,
    ids::{AccountId, SessionId, UserId},
    money::CreditsOutOfRange,
};
use std::collections::HashMap;

/// A login session that a spend came with and that nobody has asked for yet: the statement that writes the spend asks
/// whether it still lives, and whether its user may still spend from the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    /// The session that the token names.
    pub session: SessionId,
    /// The user that the token names.
    pub user: UserId,
    /// The plan's factor that the request was counted with; another plan may have come since.
    pub throttle_factor: i32,
}

/// One spend of a batch.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Who pays.
    pub account: AccountId,
    /// What for.
    pub spend: Spend,
    /// The client's key, if it sent one.
    pub key: Option<Keyed>,
    /// The pools as the request's authorisation saw them: a guess that the database confirms or refuses.
    pub guess: Option<Pools>,
    /// Who has still to be asked for; none when the gate let him in.
    pub witness: Option<Witness>,
    /// The instant of the request.
    pub now: Timestamp,
}

/// What becomes of one spend, if the batch commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write this entry.
    Write(Move),
    /// The same request stands earlier in this batch: answer as that one, by its place.
    SameAs(usize),
    /// The key stands earlier in this batch, with other input.
    KeyReused,
    /// The pools refuse it.
    Refused(MoveRefused),
}

/// Decides a batch in the order of arrival, each account from its own pools.
///
/// `pools` holds what is known of each account and is left as the batch leaves it; accounts that it lacks are not decided
/// (`None`). A key that the ledger knows already must be taken out before.
pub fn decide(batch: &[&Wanted], prices: &Prices, pools: &mut HashMap<AccountId, Pools>) -> Vec<Option<Decision>> {
    let mut keys: HashMap<(AccountId, &str), usize> = HashMap::new();
    let mut decisions: Vec<Option<Decision>> = Vec::with_capacity(batch.len());
    for (place, wanted) in batch.iter().enumerate() {
        let decision = pools.get_mut(&wanted.account).map(|known| decide_one(batch, place, prices, known, &decisions, &mut keys));
        decisions.push(decision);
    }
    decisions
}

fn decide_one<'a>(
    batch: &[&'a Wanted],
    place: usize,
    prices: &Prices,
    pools: &mut Pools,
    earlier: &[Option<Decision>],
    keys: &mut HashMap<(AccountId, &'a str), usize>,
) -> Decision {
    let Some(wanted) = batch.get(place) else { return Decision::KeyReused };
    if let Some(keyed) = &wanted.key
        && let Some(first) = keys.get(&(wanted.account, keyed.key.as_str()))
    {
        let is_same = batch.get(*first).and_then(|first| first.key.as_ref()).is_some_and(|first| first.input_hash == keyed.input_hash);
        // A first send that was refused has written nothing: the second is judged anew, with the same result.
        match earlier.get(*first) {
            Some(Some(Decision::Write(_))) if is_same => return Decision::SameAs(*first),
            Some(Some(Decision::Write(_))) => return Decision::KeyReused,
            _ => {}
        }
    }
    match moved(wanted, prices, *pools) {
        Err(refused) => Decision::Refused(refused),
        Ok(moved) => {
            *pools = moved.after;
            if let Some(keyed) = &wanted.key {
                keys.insert((wanted.account, keyed.key.as_str()), place);
            }
            Decision::Write(moved)
        }
    }
}

fn moved(wanted: &Wanted, prices: &Prices, pools: Pools) -> Result<Move, MoveRefused> {
    let unit_cost = prices.unit_cost(wanted.spend.operation, wanted.now);
    pools.spend(price(wanted.spend.operation, wanted.spend.quantity, unit_cost)?)
}

impl From<CreditsOutOfRange> for Decision {
    fn from(_: CreditsOutOfRange) -> Self {
        Decision::Refused(MoveRefused::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credits::model::{Metadata, Operation, Quantity},
        money::Credits,
    };

    fn wanted(account: i64, words: i64, key: Option<(&str, u8)>) -> Wanted {
        Wanted {
            account: AccountId(account),
            spend: Spend {
                operation: Operation::ContentGeneration,
                quantity: Quantity::new(words).unwrap(),
                description: None,
                metadata: Metadata::default(),
                reference: None,
                actor: "user:1".to_owned(),
            },
            key: key.map(|(key, hash)| Keyed { key: key.to_owned(), input_hash: [hash; 32] }),
            guess: None,
            witness: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn pools(plan: i64) -> Pools {
        Pools { plan: Credits::new(plan).unwrap(), extra: Credits::ZERO, last_seq: 4 }
    }

    #[test]
    fn each_spend_has_its_own_outcome_in_the_order_of_arrival() {
        let batch = [wanted(1, 600, None), wanted(2, 100, None), wanted(1, 500, None), wanted(1, 400, None), wanted(3, 100, None)];
        let mut known = HashMap::from([(AccountId(1), pools(10)), (AccountId(2), pools(1))]);

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
        let mut known = HashMap::from([(AccountId(1), pools(10)), (AccountId(2), pools(1))]);

        let decisions = decide(&batch.iter().collect::<Vec<_>>(), &Prices::default(), &mut known);

        assert_eq!((&decisions[1], &decisions[2]), (&Some(Decision::SameAs(0)), &Some(Decision::KeyReused)));
        assert!(matches!((&decisions[3], &decisions[4]), (Some(Decision::Refused(_)), Some(Decision::Refused(_)))));
        assert_eq!(known[&AccountId(1)].plan.get(), 9);
    }
}
