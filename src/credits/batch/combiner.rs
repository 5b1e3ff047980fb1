//! One thread per shard of accounts owns one connection, drains what is waiting, and commits it at once.

use super::{
    decided::{Decided, transaction},
    rules::{Book, Decision, Ground, Wanted, Work, decide},
    seen::Seen,
    store::{self, Columns},
};
use crate::{
    config::Sessions,
    credits::{
        model::{Authority, Pools, Transaction},
        pricing::{model::Prices, store::list_prices},
        service::{CreditError, Spent},
    },
    db::{Link, StoreError, gather},
    ids::AccountId,
    meters::{self, SpendCounts},
};
use chrono::TimeDelta;
use sqlx::postgres::PgConnectOptions;
use std::{collections::HashMap, sync::Arc, thread, time::Instant};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

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
    /// Whose its sessions are.
    pub sessions: Sessions,
    /// How many shards; one is enough on two cores.
    pub shards: usize,
    /// From a paid period's end to suspension.
    pub grace: TimeDelta,
}

/// Takes debits and work on holds, and commits together what arrives together.
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
            run_apart(Shard::new(Arc::clone(&settings)).run(receiver));
            sender
        };
        Combiner { shards: (0..settings.shards.max(1)).map(shard).collect() }
    }

    /// Spends or holds credits, or settles a hold, once per key. Answered after the commit; a full queue is [`CreditError::Busy`] at once.
    pub async fn spend(&self, wanted: Wanted) -> Result<Spent, CreditError> {
        let spread = usize::try_from(wanted.account.0.unsigned_abs()).unwrap_or(0) % self.shards.len();
        let shard = self.shards.get(spread).ok_or(CreditError::Busy)?;
        let (answer, answered) = oneshot::channel();
        shard.try_send(Job { wanted, answer, since: instant() }).map_err(|_| CreditError::Busy)?;
        answered.await.map_err(|_| CreditError::Busy)?
    }
}

/// Runs a shard on a thread of its own. Among the requests' tasks it would wait for the turn of all that came meanwhile before it saw
/// what the database has answered, and the database would wait with it. Where no thread is to be had it goes among them.
fn run_apart(shard: impl Future<Output = ()> + Send + 'static) {
    let (give, given) = std::sync::mpsc::sync_channel(1);
    let apart = runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        thread::Builder::new().name("combiner".to_owned()).spawn(move || given.recv().map(|shard| runtime.block_on(shard)))
    });
    match apart {
        // It takes what it is given, and nobody else could.
        Ok(_) => drop(give.send(shard)),
        Err(error) => {
            tracing::warn!(%error, "spends get no thread of their own");
            tokio::spawn(shard);
        }
    }
}

struct Shard {
    settings: Arc<Settings>,
    connection: Option<Link>,
    /// As last read; the statement that writes with them refuses them when they are stale.
    prices: Option<Prices>,
    /// Pools as this shard left them: newer than the guesses of requests that waited meanwhile.
    recent: HashMap<AccountId, Pools>,
    /// Debits' entries whose commit was never answered, because the connection was lost: they are looked for before they are
    /// written again. By the spend's place in the batch.
    doubtful: HashMap<usize, Transaction>,
}

/// Of one request of a batch; none as long as it is open.
pub(super) type Outcome = Option<Result<Spent, CreditError>>;

impl Shard {
    fn new(settings: Arc<Settings>) -> Self {
        Shard { settings, connection: None, prices: None, recent: HashMap::new(), doubtful: HashMap::new() }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        while gather(&mut queue, &mut jobs, BATCH_MAX).await {
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

    /// One statement from what the requests' authorisations saw. Accounts that were not as guessed stay open, and those that can't be
    /// done so: within an account all is done in the order of arrival.
    async fn fast(&mut self, batch: &[&Wanted], outcomes: &mut [Outcome]) -> Result<(), StoreError> {
        let Some(now) = batch.iter().map(|wanted| wanted.now).max() else { return Ok(()) };
        let prices = self.prices().await?.clone();
        let authorities = authorities(batch, prices.version);
        let mut book = Book::default();
        for wanted in batch.iter().filter(|wanted| authorities.contains_key(&wanted.account)) {
            let known = [wanted.guess, self.recent.get(&wanted.account).copied(), book.pools.get(&wanted.account).copied()];
            if let Some(newest) = known.into_iter().flatten().max_by_key(|pools| pools.last_seq) {
                book.pools.insert(wanted.account, newest);
            }
        }
        let ground =
            |(account, pools): (&AccountId, &Pools)| Some((*account, Ground { pools: *pools, authority: *authorities.get(account)? }));
        let grounds = book.pools.iter().filter_map(ground).collect::<HashMap<_, _>>();
        let mut decisions = decide(batch, &prices, &mut book);
        for (wanted, decision) in batch.iter().zip(&mut decisions) {
            // The statement looks for the keys of what it writes only; this one may have been done before, and that is what it is told.
            if wanted.key.is_some() && matches!(decision, Some(Decision::Refused(_))) {
                *decision = None;
            }
        }
        let columns = Columns::of(batch, &decisions, &prices, &grounds);
        if columns.is_empty() {
            return Ok(());
        }
        self.doubtful = doubtful(batch.iter().copied().enumerate(), &decisions);
        let written = self.connection().await?.alone(async |link| store::append_where_unchanged(link, &columns, now).await).await?;
        self.doubtful.clear();
        self.remember(written.iter().filter_map(|account| book.pools.get(account).map(|pools| (*account, *pools))));
        let decided = Decided { places: (0..batch.len()).collect(), wanted: batch.to_vec(), decisions, answers: Vec::new() };
        decided.settle(outcomes, |account| written.contains(&account));
        Ok(())
    }

    /// Lock, decide, write: exact whatever was guessed.
    async fn exact(&mut self, batch: &[&Wanted], open: &[usize], outcomes: &mut [Outcome]) -> Result<(), StoreError> {
        let Some(now) = batch.iter().map(|wanted| wanted.now).max() else { return Ok(()) };
        let (grace, doubts) = (self.settings.grace, self.doubtful.clone());
        let places = open.iter().filter_map(|place| batch.get(*place).map(|wanted| (*place, *wanted))).collect::<Vec<_>>();
        let mut tx = self.connection().await?.begin().await?;
        let mut seen = Seen::under_lock(&mut tx, &places, &doubts, grace, now).await?;
        let mut later = Vec::with_capacity(places.len());
        for (place, wanted) in places {
            match (seen.early_outcome(place, wanted), outcomes.get_mut(place)) {
                (Some(early), Some(outcome)) => *outcome = Some(early),
                (None, _) => later.push((place, wanted)),
                (Some(_), None) => {}
            }
        }
        let grounds = seen.grounds();
        let decided = Decided::of(later, &seen.prices, &mut seen.book)?;
        let columns = Columns::of(&decided.wanted, &decided.decisions, &seen.prices, &grounds);
        let written = if columns.is_empty() { Vec::new() } else { store::append_where_unchanged(&mut tx, &columns, now).await? };
        let is_certain = |account: AccountId| written.contains(&account) || !decided.has_entries(account);
        for (account, held) in decided.write_holds(&mut tx, is_certain).await? {
            seen.book.pools.entry(account).and_modify(|pools| pools.held = held);
        }
        let newly = doubtful(decided.places.iter().copied().zip(decided.wanted.iter().copied()), &decided.decisions);
        let committed = tx.commit().await;
        self.doubtful.extend(newly);
        if let Err(lost) = committed {
            decided.give_up_unkeyed_holds(outcomes);
            return Err(lost.into());
        }
        self.doubtful.retain(|place, _| !open.contains(place));
        self.prices = Some(seen.prices);
        decided.settle(outcomes, is_certain);
        // Never what was decided and not written: the next batch would start from credits that nobody has.
        self.remember(seen.book.pools.into_iter().filter(|(account, _)| is_certain(*account)));
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
            self.prices = Some(self.connection().await?.alone(async |link| list_prices(link).await).await?);
        }
        Ok(self.prices.get_or_insert_default())
    }

    async fn connection(&mut self) -> Result<&mut Link, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Link::open(&self.settings.connect, self.settings.sessions).await?,
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
            Some(Ok(Spent::New(receipt))) => {
                counts.spent += 1;
                counts.credits += receipt.credits_spent();
            }
            Some(Ok(Spent::Replayed(_))) => counts.replayed += 1,
            None | Some(Err(CreditError::Store(_) | CreditError::Busy)) => counts.failed += 1,
            Some(Err(_)) => counts.refused += 1,
        }
    }
    counts
}

/// The accounts that one statement can do, each with the authority that all its requests rest on: no hold is wanted of them, and
/// nobody knows of another authority, or of other prices.
fn authorities(batch: &[&Wanted], rules_version: i64) -> HashMap<AccountId, i64> {
    let mut authorities: HashMap<AccountId, Option<i64>> = HashMap::with_capacity(batch.len());
    for wanted in batch {
        let Authority { account, rules } = wanted.warrant.authority;
        let authority = (rules == rules_version && !wanted.is_hold()).then_some(account);
        authorities.entry(wanted.account).and_modify(|known| *known = known.filter(|known| Some(*known) == authority)).or_insert(authority);
    }
    authorities.into_iter().filter_map(|(account, authority)| Some((account, authority?))).collect()
}

fn open_places(outcomes: &[Outcome]) -> Vec<usize> {
    outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none()).map(|(place, _)| place).collect()
}

/// The entries of debits without a key that a decided batch writes: with a key, the ledger itself tells whether they were written.
fn doubtful<'a>(places: impl Iterator<Item = (usize, &'a Wanted)>, decisions: &[Option<Decision>]) -> HashMap<usize, Transaction> {
    let entry = |((place, wanted), decision): ((usize, &'a Wanted), &Option<Decision>)| match (decision, &wanted.work) {
        (Some(Decision::Write(moved)), Work::Debit(spend)) if wanted.key.is_none() => Some((place, transaction(spend, moved, wanted.now))),
        _ => None,
    };
    places.zip(decisions).filter_map(entry).collect()
}
