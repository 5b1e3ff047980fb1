//! A connection of a task's own, over which what arrives together is asked together; also where its sessions are shared: then every
//! statement stands in a transaction that says how it is planned.

use super::{ACQUIRE_TIMEOUT, StoreError};
use crate::config::Sessions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction, postgres::PgConnectOptions};
use std::io;
use tokio::{sync::mpsc, time::timeout};

/// Generic plans by index: a batch is small against the tables, whatever their statistics say, and nothing of it is worth compiling.
const PLANNING: [(&str, &str); 4] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// A connection that is closed after any failure and never pooled.
pub struct Link {
    connection: PgConnection,
    sessions: Sessions,
}

impl Link {
    /// Opens one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when the server is away, or does not answer in the time in which a pooled connection has to be there.
    pub async fn open(options: &PgConnectOptions, sessions: Sessions) -> Result<Self, StoreError> {
        let options = options.clone().options(PLANNING);
        let silence = |_| sqlx::Error::Io(io::ErrorKind::TimedOut.into());
        let connection = timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await.map_err(silence)??;
        Ok(Link { connection, sessions })
    }

    /// Begins a batch's transaction.
    pub async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, StoreError> {
        match self.sessions {
            Sessions::Own => Ok(self.connection.begin().await?),
            // The session is another one each time: what this connection said when it was opened, that one never heard.
            Sessions::Shared => {
                let planning = PLANNING.map(|(name, value)| format!("set local {name} = '{value}'")).join("; ");
                Ok(self.connection.begin_with(AssertSqlSafe(self.sessions.beginning(&planning))).await?)
            }
        }
    }

    /// One statement alone: committed when this returns.
    pub async fn alone<T>(&mut self, statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.sessions {
            Sessions::Own => statement(&mut self.connection).await,
            Sessions::Shared => {
                let mut tx = self.begin().await?;
                let done = statement(&mut tx).await?;
                tx.commit().await?;
                Ok(done)
            }
        }
    }
}

/// Takes what waits, so many at the most; false when nobody will ever ask again. Who is ready to ask gets in too, and nobody else is
/// waited for.
pub async fn gather<T>(queue: &mut mpsc::Receiver<T>, waiting: &mut Vec<T>, max: usize) -> bool {
    if queue.recv_many(waiting, max).await == 0 {
        return false;
    }
    tokio::task::yield_now().await;
    while waiting.len() < max
        && let Ok(one) = queue.try_recv()
    {
        waiting.push(one);
    }
    true
}
