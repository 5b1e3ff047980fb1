//! Asks how accounts stand, for all requests that wait to know it in one query.
//!
//! No timer: alone in the queue a request goes at once, and those that come during a query are asked for by the next one. So each is
//! told what was so after it had come.

use super::{model::Standing, store::list_standings};
use crate::{
    config::Sessions,
    db::{Link, StoreError, gather},
    ids::AccountId,
    traces::Step,
};
use sqlx::postgres::PgConnectOptions;
use std::{collections::HashMap, time::Duration};
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

/// Tells how accounts stand.
pub struct Standings {
    queue: mpsc::Sender<Question>,
}

struct Question {
    account: AccountId,
    answer: oneshot::Sender<Option<Standing>>,
}

impl Standings {
    /// Starts the task, which connects when it is asked for the first time.
    pub fn start(connect: PgConnectOptions, sessions: Sessions) -> Self {
        let (queue, questions) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(Asker { connect, sessions, link: None }.run(questions));
        Standings { queue }
    }

    /// How an account stands. Nothing where it has no balance, and where that can't be told: who wants to know asks by himself.
    pub async fn of(&self, account: AccountId) -> Option<Standing> {
        let _asking = Step::part("gate.standing");
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Question { account, answer }).ok()?;
        answered.await.ok()?
    }
}

struct Asker {
    connect: PgConnectOptions,
    sessions: Sessions,
    link: Option<Link>,
}

impl Asker {
    async fn run(mut self, mut queue: mpsc::Receiver<Question>) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        while gather(&mut queue, &mut waiting, BATCH_MAX).await {
            let mut accounts = waiting.iter().map(|question: &Question| question.account.0).collect::<Vec<_>>();
            accounts.sort_unstable();
            accounts.dedup();
            // A connection may have died since it was used last; a new one tells whether the database has.
            let standings = match self.ask(&accounts).await {
                Some(standings) => standings,
                None => self.ask(&accounts).await.unwrap_or_default(),
            };
            for Question { account, answer } in waiting.drain(..) {
                // Who hung up has no use for it.
                answer.send(standings.get(&account).copied()).ok();
            }
        }
    }

    /// Nothing when the database did not answer; then the connection is not trusted any more.
    async fn ask(&mut self, accounts: &[i64]) -> Option<HashMap<AccountId, Standing>> {
        let asked = timeout(SILENCE_MAX, self.try_to_ask(accounts)).await;
        match asked {
            Ok(Ok((link, standings))) => {
                self.link = Some(link);
                return Some(standings);
            }
            Ok(Err(error)) => tracing::warn!(%error, "how accounts stand was not told"),
            Err(_) => tracing::warn!("how accounts stand was not told in time"),
        }
        None
    }

    async fn try_to_ask(&mut self, accounts: &[i64]) -> Result<(Link, HashMap<AccountId, Standing>), StoreError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::open(&self.connect, self.sessions).await?,
        };
        let standings = link.alone(async |link| list_standings(link, accounts).await).await?;
        Ok((link, standings))
    }
}
