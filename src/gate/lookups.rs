//! Looks people up, all that are asked for at the same moment in one query.
//!
//! No timer: alone in the queue a request goes at once, and those that come during a query are asked for by the next one. So each is
//! told what was so after it had come.

use super::{
    model::{Found, KeyRecord, Person, PersonAsked, SiteAsked, SiteCaller},
    store,
};
use crate::{
    config::Sessions,
    db::{Link, StoreError, gather},
};
use chrono::TimeDelta;
use sqlx::{PgConnection, postgres::PgConnectOptions};
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Requests in one query at the most.
const BATCH_MAX: usize = 256;
/// Requests that wait at the most; who comes then asks by himself.
const QUEUE_MAX: usize = 1_024;
/// The database says itself that a statement took too long, after 5 s. Where it says nothing, nobody is there.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Where requests ask who sends them.
pub struct Lookups {
    /// For persons.
    pub persons: Queue<PersonAsked>,
    /// For sites.
    pub sites: Queue<SiteAsked>,
}

impl Lookups {
    /// Starts both tasks; each connects when it is asked for the first time.
    pub fn start(connect: &PgConnectOptions, sessions: Sessions, grace: TimeDelta) -> Self {
        Lookups { persons: Queue::start(connect.clone(), sessions, grace), sites: Queue::start(connect.clone(), sessions, grace) }
    }
}

/// What one asks for.
pub trait Question: Clone + Send + Sync + 'static {
    /// What one is told.
    type Answer: Send;

    /// Asks for all of them in one query; the answers come in their order.
    fn ask_all(
        connection: &mut PgConnection,
        asked: &[Self],
        grace: TimeDelta,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

impl Question for PersonAsked {
    type Answer = Found<Person, Person>;

    async fn ask_all(connection: &mut PgConnection, asked: &[Self], grace: TimeDelta) -> Result<Vec<Self::Answer>, StoreError> {
        store::list_persons(connection, asked, grace).await
    }
}

impl Question for SiteAsked {
    type Answer = Found<SiteCaller, KeyRecord>;

    async fn ask_all(connection: &mut PgConnection, asked: &[Self], grace: TimeDelta) -> Result<Vec<Self::Answer>, StoreError> {
        store::list_sites_of_keys(connection, asked, grace).await
    }
}

/// Requests that wait for a task which asks for them.
pub struct Queue<Q: Question> {
    waiting: mpsc::Sender<(Q, oneshot::Sender<Q::Answer>)>,
}

impl<Q: Question> Queue<Q> {
    fn start(connect: PgConnectOptions, sessions: Sessions, grace: TimeDelta) -> Self {
        let (waiting, questions) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(Asker { connect, sessions, grace, link: None }.run(questions));
        Queue { waiting }
    }

    /// Asks together with others. The question comes back where that can't be done: then one asks by oneself.
    pub async fn ask(&self, question: Q) -> Result<Q::Answer, Q> {
        let (answer, answered) = oneshot::channel();
        match self.waiting.try_send((question.clone(), answer)) {
            Ok(()) => answered.await.map_err(|_| question),
            Err(_) => Err(question),
        }
    }
}

struct Asker {
    connect: PgConnectOptions,
    sessions: Sessions,
    grace: TimeDelta,
    link: Option<Link>,
}

impl Asker {
    async fn run<Q: Question>(mut self, mut queue: mpsc::Receiver<(Q, oneshot::Sender<Q::Answer>)>) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        while gather(&mut queue, &mut waiting, BATCH_MAX).await {
            let (asked, answers): (Vec<Q>, Vec<_>) = waiting.drain(..).unzip();
            // A connection may have died since it was used last; a new one tells whether the database has.
            let told = match self.ask(&asked).await {
                Some(told) => told,
                None => self.ask(&asked).await.unwrap_or_default(),
            };
            for (answer, told) in answers.into_iter().zip(told) {
                // Who hung up has no use for it.
                answer.send(told).ok();
            }
        }
    }

    /// Nothing when the database did not answer; then the connection is not trusted any more.
    async fn ask<Q: Question>(&mut self, asked: &[Q]) -> Option<Vec<Q::Answer>> {
        match timeout(SILENCE_MAX, self.try_to_ask(asked)).await {
            Ok(Ok((link, told))) => {
                self.link = Some(link);
                return Some(told);
            }
            Ok(Err(error)) => tracing::warn!(%error, "who asks was not told"),
            Err(_) => tracing::warn!("who asks was not told in time"),
        }
        None
    }

    async fn try_to_ask<Q: Question>(&mut self, asked: &[Q]) -> Result<(Link, Vec<Q::Answer>), StoreError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::open(&self.connect, self.sessions).await?,
        };
        let told = link.alone(async |link| Q::ask_all(link, asked, self.grace).await).await?;
        Ok((link, told))
    }
}
