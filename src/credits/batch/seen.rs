//! What a batch has to know once its accounts are locked, and what can be answered from it at once.

use super::{
    rules::{Asked, Book, Ground, Wanted},
    store::{self, LockedAccount},
};
use crate::{
    clock::Timestamp,
    credits::{
        holds, lots,
        model::{Authority, Transaction},
        pricing::{self, model::Prices},
        service::{CreditError, Receipt, Spent},
        store::{KnownKey, find_keys},
    },
    db::StoreError,
    idempotency::{self, store::Stored},
    ids::AccountId,
};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// Everything that a batch's decisions depend on, read under the lock of its accounts.
pub(super) struct Seen {
    /// The accounts as they are at the batch's instant.
    pub(super) book: Book,
    /// The prices.
    pub(super) prices: Prices,
    locked: HashMap<AccountId, LockedAccount>,
    /// Keys of entries.
    known: HashMap<(AccountId, String), KnownKey>,
    /// Keys whose first answer is kept beside the ledger: those of holds, and those that were used on other routes.
    answered: HashMap<(AccountId, String), Stored>,
    /// Accounts that may spend, of those whose authority has changed since the gate was asked for a request of theirs.
    admitted: HashSet<AccountId>,
    /// Entries whose commit was never answered and that stand in the ledger after all, by their place in the batch.
    written_after_all: HashMap<usize, Transaction>,
}

impl Seen {
    /// Locks the accounts of these places, ends what is over in them, and reads the rest.
    pub(super) async fn under_lock(
        connection: &mut PgConnection,
        places: &[(usize, &Wanted)],
        doubts: &HashMap<usize, Transaction>,
        grace: TimeDelta,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let locked = store::lock_balances(connection, &accounts(places.iter().map(|(_, wanted)| *wanted))).await?;
        let mut book = Book::default();
        for (account, locked) in &locked {
            book.pools.insert(*account, lots::service::bring_up_in(connection, *account, locked.balance, now).await?);
        }
        let holding = places.iter().map(|(_, wanted)| *wanted).filter(|wanted| wanted.is_hold()).collect::<Vec<_>>();
        if !holding.is_empty() {
            let named = holding.iter().filter_map(|wanted| Some((wanted.account, wanted.named_hold()?))).collect::<Vec<_>>();
            book.shelves = holds::store::list_shelves(connection, &accounts(holding.into_iter()), &named).await?;
        }
        let mut seen = Seen {
            book,
            prices: pricing::store::list_prices(&mut *connection).await?,
            locked,
            known: HashMap::new(),
            answered: HashMap::new(),
            admitted: HashSet::new(),
            written_after_all: written_after_all(connection, doubts, places).await?,
        };
        let keyed = places.iter().filter_map(|(_, wanted)| wanted.key.as_ref().map(|keyed| (wanted.account.0, keyed.key.clone())));
        let (accounts, keys): (Vec<i64>, Vec<String>) = keyed.unzip();
        if !keys.is_empty() {
            seen.known = find_keys(connection, &accounts, &keys).await?;
            seen.answered = idempotency::store::list_known(connection, &accounts, &keys).await?;
        }
        let changed = places.iter().map(|(_, wanted)| *wanted).filter(|wanted| !seen.stands(wanted) && wanted.warrant.asked == Asked::Now);
        let changed = self::accounts(changed);
        if !changed.is_empty() {
            seen.admitted = store::list_admitted(connection, &changed, grace, now).await?;
        }
        Ok(seen)
    }

    /// What each account is decided from.
    pub(super) fn grounds(&self) -> HashMap<AccountId, Ground> {
        let ground = |(account, locked): (&AccountId, &LockedAccount)| {
            Some((*account, Ground { pools: *self.book.pools.get(account)?, authority: locked.authority }))
        };
        self.locked.iter().filter_map(ground).collect()
    }

    /// Whether what a request's right to spend rests on is still so.
    fn stands(&self, wanted: &Wanted) -> bool {
        let account = self.locked.get(&wanted.account).map(|locked| locked.authority);
        account.is_some_and(|account| wanted.warrant.authority == Authority { account, rules: self.prices.version })
    }

    /// What can be answered before anything is decided: a replay, a reused key, an account that may not spend. Who is taken on
    /// trust from another authority than it is now is sent to the gate, which says what he may.
    pub(super) fn early_outcome(&self, place: usize, wanted: &Wanted) -> Option<Result<Spent, CreditError>> {
        if let Some(entry) = self.written_after_all.get(&place) {
            return Some(Ok(Spent::New(Receipt::Entry(entry.clone()))));
        }
        let stands = self.stands(wanted);
        if !stands && wanted.warrant.asked == Asked::Before {
            return Some(Err(CreditError::Unproven));
        }
        if !self.locked.contains_key(&wanted.account) {
            return Some(Err(CreditError::NoBalance));
        }
        if let Some(keyed) = &wanted.key {
            let key = (wanted.account, keyed.key.clone());
            let entry = self.known.get(&key).map(|first| (&first.input_hash, Receipt::Entry(first.transaction.clone())));
            let first =
                entry.or_else(|| self.answered.get(&key).map(|first| (&first.input_hash, Receipt::Hold(first.first.answer.clone()))));
            if let Some((input_hash, receipt)) = first {
                let is_same = crate::secrets::same(input_hash, &keyed.input_hash);
                return Some(if is_same { Ok(Spent::Replayed(receipt)) } else { Err(CreditError::KeyReused) });
            }
        }
        (!stands && !self.admitted.contains(&wanted.account)).then_some(Err(CreditError::NotAdmitted))
    }
}

/// Their accounts, each once, in the order in which all processes lock.
fn accounts<'a>(batch: impl Iterator<Item = &'a Wanted>) -> Vec<i64> {
    let mut accounts = batch.map(|wanted| wanted.account.0).collect::<Vec<_>>();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// Which doubtful entries stand in the ledger after all. Their accounts must be locked, so that none comes in later.
async fn written_after_all(
    connection: &mut PgConnection,
    doubts: &HashMap<usize, Transaction>,
    places: &[(usize, &Wanted)],
) -> Result<HashMap<usize, Transaction>, StoreError> {
    let mut found = HashMap::new();
    for (place, wanted) in places {
        if let Some(entry) = doubts.get(place)
            && let Some(actor) = wanted.debtor()
            && store::is_written(connection, wanted.account, entry, actor).await?
        {
            found.insert(*place, entry.clone());
        }
    }
    Ok(found)
}
