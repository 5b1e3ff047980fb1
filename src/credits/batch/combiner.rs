//! One task per shard of accounts owns one connection, drains what is waiting, and commits it at once.

use super::{
    rules::{Decision, Wanted, decide},
    store::{self, Columns, KnownKey},
};
use crate::{
    clock::Timestamp,
    credits::{
        lots,
        model::{Pools, Transaction, TransactionKind},
        pricing::{self, model::Prices},
        service::{CreditError, Spent},
    },
    db::StoreError,
    idempotency,
    ids::{AccountId, SessionId},
    meters::{self, SpendCounts},
};
use chrono::TimeDelta;
use sqlx::{PgConnection, postgres::PgConnectOptions};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// Spends in one commit at the most; more gain nothing.
const BATCH_MAX: usize = 256;
/// Spends waiting in one shard at the most; then 503. A longer queue would only answer too late.
const QUEUE_MAX: usize = 900;
/// How often the whole batch is tried again after a collision.
const TRIES_MAX: usize = 3;

/// Accounts whose pools a shard remembers at the most, some 60 bytes each.
const RECENT_MAX: usize = 131_072;

/// What the shards work with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the database.
    pub connect: PgConnectOptions,
    /// How many shards; one is enough on two cores.
    pub shards: usize,
    /// From a paid period's end to suspension.
    pub grace: TimeDelta,
}

/// Takes spends and commits those together that arrive together.
pub struct Combiner {
    shards: Vec<mpsc::Sender<Job>>,
}

struct Job {
    wanted: Wanted,
    answer: oneshot::Sender<Result<Spent, CreditError>>,
    /// When it was put into the queue.
    since: Instant,
}

impl Combiner {
    /// Starts the shards; each connects when its first spend arrives.
    pub fn start(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let shard = |_| {
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(Shard::new(Arc::clone(&settings)).run(receiver));
            sender
        };
        Combiner { shards: (0..settings.shards.max(1)).map(shard).collect() }
    }

    /// Spends credits, once per key. Answered after the commit; a full queue is [`CreditError::Busy`] at once.
    pub async fn spend(&self, wanted: Wanted) -> Result<Spent, CreditError> {
        let spread = usize::try_from(wanted.account.0.unsigned_abs()).unwrap_or(0) % self.shards.len();
        let shard = self.shards.get(spread).ok_or(CreditError::Busy)?;
        let (answer, answered) = oneshot::channel();
        shard.try_send(Job { wanted, answer, since: instant() }).map_err(|_| CreditError::Busy)?;
        answered.await.map_err(|_| CreditError::Busy)?
    }
}

struct Shard {
    settings: Arc<Settings>,
    connection: Option<PgConnection>,
    /// As last read; the statement that writes with them refuses them when they are stale.
    prices: Option<Prices>,
    /// Pools as this shard left them: newer than the guesses of requests that waited meanwhile.
    recent: HashMap<AccountId, Pools>,
    /// Entries whose commit was never answered, because the connection was lost: they are looked for before they are
    /// written again. By the spend's place in the batch.
    doubtful: HashMap<usize, Transaction>,
}

type Outcome = Option<Result<Spent, CreditError>>;

impl Shard {
    fn new(settings: Arc<Settings>) -> Self {
        Shard { settings, connection: None, prices: None, recent: HashMap::new(), doubtful: HashMap::new() }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            meters::batch_began(jobs.len(), jobs.first().map(|oldest| oldest.since.elapsed()).unwrap_or_default());
            let batch = jobs.iter().map(|job| &job.wanted).collect::<Vec<_>>();
            let outcomes = self.carry_out(&batch).await;
            meters::batch_ended(counts(&outcomes));
            for (job, outcome) in jobs.drain(..).zip(outcomes) {
                // A client that hung up changes nothing: what was committed stays.
                drop(job.answer.send(outcome.unwrap_or(Err(CreditError::Busy))));
            }
        }
    }

    /// The whole batch at once; what the fast statement does not touch is done exactly, under locks.
    async fn carry_out(&mut self, batch: &[&Wanted]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        outcomes.resize_with(batch.len(), || None);
        self.doubtful.clear();
        if let Err(error) = self.fast(batch, &mut outcomes).await {
            self.lost(&error);
        }
        for _ in 0..TRIES_MAX {
            let open = open_places(&outcomes);
            if open.is_empty() {
                return outcomes;
            }
            match self.exact(batch, &open, &mut outcomes).await {
                Ok(()) => {}
                Err(error) => self.lost(&error),
            }
        }
        // Something in it can't be done: one by one, so that it harms itself only.
        for place in open_places(&outcomes) {
            if let Err(error) = self.exact(batch, &[place], &mut outcomes).await {
                self.lost(&error);
                if let Some(outcome) = outcomes.get_mut(place) {
                    *outcome = Some(Err(error.into()));
                }
            }
        }
        outcomes
    }

    /// One statement from what the requests' authorisations saw. Accounts that were not as guessed stay open.
    async fn fast(&mut self, batch: &[&Wanted], outcomes: &mut [Outcome]) -> Result<(), StoreError> {
        let Some(now) = batch.iter().map(|wanted| wanted.now).max() else { return Ok(()) };
        let grace = self.settings.grace;
        let prices = self.prices().await?.clone();
        let mut pools: HashMap<AccountId, Pools> = HashMap::new();
        for wanted in batch {
            let known = [wanted.guess, self.recent.get(&wanted.account).copied(), pools.get(&wanted.account).copied()];
            if let Some(newest) = known.into_iter().flatten().max_by_key(|pools| pools.last_seq) {
                pools.insert(wanted.account, newest);
            }
        }
        let before = pools.clone();
        let decisions = decide(batch, &prices, &mut pools);
        let columns = Columns::of(batch, &decisions, &prices, &before);
        if columns.is_empty() {
            return Ok(());
        }
        self.doubtful = doubtful(batch.iter().copied().enumerate(), &decisions);
        let written = store::append_where_unchanged(self.connection().await?, &columns, grace, now).await?;
        self.doubtful.clear();
        self.remember(written.iter().filter_map(|account| pools.get(account).map(|pools| (*account, *pools))));
        settle(batch, &decisions, outcomes, |account| written.contains(&account));
        Ok(())
    }

    /// Lock, decide, write: exact whatever was guessed.
    async fn exact(&mut self, batch: &[&Wanted], open: &[usize], outcomes: &mut [Outcome]) -> Result<(), StoreError> {
        let Some(now) = batch.iter().map(|wanted| wanted.now).max() else { return Ok(()) };
        let grace = self.settings.grace;
        let doubts = self.doubtful.clone();
        let mut tx = store::begin(self.connection().await?).await?;
        let places = open.iter().filter_map(|place| batch.get(*place).map(|wanted| (*place, *wanted))).collect::<Vec<_>>();
        let mut accounts = places.iter().map(|(_, wanted)| wanted.account.0).collect::<Vec<_>>();
        accounts.sort_unstable();
        accounts.dedup();
        let mut locked = store::lock_balances(&mut tx, &accounts, grace, now).await?;
        for (account, locked) in locked.iter_mut().filter(|(_, locked)| locked.has_ended_lots) {
            locked.pools = lots::service::expire_in(&mut tx, *account, locked.pools, now).await?;
        }
        let prices = pricing::store::list_prices(&mut *tx).await?;
        let seen = Seen::by(&mut tx, &places, now).await?;
        let found = written_after_all(&mut tx, &doubts, &places).await?;
        let mut later: Vec<(usize, &Wanted)> = Vec::with_capacity(places.len());
        for (place, wanted) in places {
            let early = found
                .get(&place)
                .map(|entry| Ok(Spent::New(entry.clone())))
                .or_else(|| seen.early_outcome(wanted, locked.get(&wanted.account)));
            match (early, outcomes.get_mut(place)) {
                (Some(early), Some(outcome)) => *outcome = Some(early),
                (None, _) => later.push((place, wanted)),
                (Some(_), None) => {}
            }
        }
        let rest = later.iter().map(|(_, wanted)| *wanted).collect::<Vec<_>>();
        let mut pools = locked.iter().map(|(account, locked)| (*account, locked.pools)).collect::<HashMap<_, _>>();
        let before = pools.clone();
        let decisions = decide(&rest, &prices, &mut pools);
        let columns = Columns::of(&rest, &decisions, &prices, &before);
        let written = if columns.is_empty() { Vec::new() } else { store::append_where_unchanged(&mut tx, &columns, grace, now).await? };
        let newly = doubtful(later.iter().copied(), &decisions);
        let committed = tx.commit().await;
        self.doubtful.extend(newly);
        committed?;
        self.doubtful.retain(|place, _| !open.contains(place));
        self.prices = Some(prices);
        let mut decided: Vec<Outcome> = Vec::new();
        decided.resize_with(rest.len(), || None);
        let has_entries = |account: AccountId| written.contains(&account);
        let has_none = |account: AccountId| {
            !rest.iter().zip(&decisions).any(|(wanted, decision)| wanted.account == account && matches!(decision, Some(Decision::Write(_))))
        };
        let is_certain = |account: AccountId| has_entries(account) || has_none(account);
        settle(&rest, &decisions, &mut decided, is_certain);
        // Never what was decided and not written: the next batch would start from credits that nobody has.
        self.remember(pools.into_iter().filter(|(account, _)| is_certain(*account)));
        for ((place, _), outcome) in later.into_iter().zip(decided) {
            if let Some(slot) = outcomes.get_mut(place) {
                *slot = outcome;
            }
        }
        Ok(())
    }

    fn remember(&mut self, pools: impl IntoIterator<Item = (AccountId, Pools)>) {
        if self.recent.len() > RECENT_MAX {
            self.recent.clear();
        }
        self.recent.extend(pools);
    }

    async fn prices(&mut self) -> Result<&Prices, StoreError> {
        if self.prices.is_none() {
            self.prices = Some(pricing::store::list_prices(self.connection().await?).await?);
        }
        Ok(self.prices.get_or_insert_default())
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => store::connect(&self.settings.connect).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// After a failed statement the connection is not trusted any more: what was under way is rolled back by closing it.
    fn lost(&mut self, error: &StoreError) {
        tracing::warn!(%error, "a batch of spends failed and is tried again");
        self.connection = None;
        self.prices = None;
    }
}

#[allow(clippy::disallowed_methods, reason = "measures how long a spend waits, for the metrics only")]
fn instant() -> Instant {
    Instant::now()
}

/// What came of a batch, for the metrics.
fn counts(outcomes: &[Outcome]) -> SpendCounts {
    let mut counts = SpendCounts::default();
    for outcome in outcomes {
        match outcome {
            Some(Ok(Spent::New(transaction))) => {
                counts.spent += 1;
                counts.credits += transaction.amount.get().unsigned_abs();
            }
            Some(Ok(Spent::Replayed(_))) => counts.replayed += 1,
            None | Some(Err(CreditError::Store(_) | CreditError::Busy)) => counts.failed += 1,
            Some(Err(_)) => counts.refused += 1,
        }
    }
    counts
}

fn open_places(outcomes: &[Outcome]) -> Vec<usize> {
    outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none()).map(|(place, _)| place).collect()
}

/// The entries without a key that a decided batch writes: with a key, the ledger itself tells whether they were written.
fn doubtful<'a>(places: impl Iterator<Item = (usize, &'a Wanted)>, decisions: &[Option<Decision>]) -> HashMap<usize, Transaction> {
    let entry = |((place, wanted), decision): ((usize, &'a Wanted), &Option<Decision>)| match decision {
        Some(Decision::Write(moved)) if wanted.key.is_none() => Some((place, transaction(wanted, moved))),
        _ => None,
    };
    places.zip(decisions).filter_map(entry).collect()
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
            && store::is_written(connection, wanted.account, entry, &wanted.spend.actor).await?
        {
            found.insert(*place, entry.clone());
        }
    }
    Ok(found)
}

/// What is known of a batch's keys and witnesses once its accounts are locked.
struct Seen {
    known: HashMap<(AccountId, String), KnownKey>,
    /// Keys that were used on other routes.
    foreign: HashSet<(AccountId, String)>,
    /// Witnesses that are not borne out.
    strangers: HashSet<(AccountId, SessionId)>,
}

impl Seen {
    async fn by(connection: &mut PgConnection, places: &[(usize, &Wanted)], now: Timestamp) -> Result<Self, StoreError> {
        let mut seen = Seen { known: HashMap::new(), foreign: HashSet::new(), strangers: HashSet::new() };
        let keyed = places.iter().filter_map(|(_, wanted)| wanted.key.as_ref().map(|keyed| (wanted.account.0, keyed.key.clone())));
        let (accounts, keys): (Vec<i64>, Vec<String>) = keyed.unzip();
        if !keys.is_empty() {
            seen.known = store::find_keys(connection, &accounts, &keys).await?;
            seen.foreign = idempotency::store::list_known(connection, &accounts, &keys).await?;
        }
        let witnesses = places.iter().filter_map(|(_, wanted)| Some((wanted.account, wanted.witness?))).collect::<Vec<_>>();
        if !witnesses.is_empty() {
            seen.strangers = store::list_strangers(connection, &witnesses, now).await?;
        }
        Ok(seen)
    }

    /// What can be answered before anything is decided: a replay, a reused key, an account that may not spend. Who came with
    /// a witness that is not borne out, or for an account that may not spend, is sent to the gate, which says why.
    fn early_outcome(&self, wanted: &Wanted, locked: Option<&store::LockedAccount>) -> Option<Result<Spent, CreditError>> {
        let may_spend = locked.is_some_and(|locked| locked.may_spend);
        if wanted.witness.is_some_and(|witness| !may_spend || self.strangers.contains(&(wanted.account, witness.session))) {
            return Some(Err(CreditError::Unproven));
        }
        if locked.is_none() {
            return Some(Err(CreditError::NoBalance));
        }
        if let Some(keyed) = &wanted.key {
            let key = (wanted.account, keyed.key.clone());
            if let Some(first) = self.known.get(&key) {
                let is_same = crate::secrets::same(&first.input_hash, &keyed.input_hash);
                return Some(if is_same { Ok(Spent::Replayed(first.transaction.clone())) } else { Err(CreditError::KeyReused) });
            }
            if self.foreign.contains(&key) {
                return Some(Err(CreditError::KeyReused));
            }
        }
        (!may_spend).then_some(Err(CreditError::NotAdmitted))
    }
}

/// Writes down the outcomes of those accounts whose decisions are committed, or were decided under their lock.
fn settle(batch: &[&Wanted], decisions: &[Option<Decision>], outcomes: &mut [Outcome], is_certain: impl Fn(AccountId) -> bool) {
    for (place, (wanted, decision)) in batch.iter().zip(decisions).enumerate() {
        let (Some(decision), true) = (decision, is_certain(wanted.account)) else { continue };
        let outcome = match decision {
            Decision::Write(moved) => Ok(Spent::New(transaction(wanted, moved))),
            Decision::SameAs(first) => match (batch.get(*first), decisions.get(*first)) {
                (Some(first), Some(Some(Decision::Write(moved)))) => Ok(Spent::Replayed(transaction(first, moved))),
                _ => Err(CreditError::Busy),
            },
            Decision::KeyReused => Err(CreditError::KeyReused),
            Decision::Refused(refused) => Err(CreditError::Refused(*refused)),
        };
        if let Some(slot) = outcomes.get_mut(place) {
            *slot = Some(outcome);
        }
    }
}

/// The entry as it was written.
fn transaction(wanted: &Wanted, moved: &crate::credits::rules::Move) -> Transaction {
    let amount = moved.plan.plus(moved.extra).unwrap_or_default();
    Transaction {
        id: moved.after.last_seq,
        kind: TransactionKind::Deduction,
        amount,
        balance_after: moved.after.total(),
        operation: Some(wanted.spend.operation),
        quantity: Some(wanted.spend.quantity.get()),
        description: wanted.spend.description(),
        metadata: wanted.spend.metadata.value(),
        reference: wanted.spend.reference.clone(),
        created_at: wanted.now,
    }
}
