//! The pool itself, and what lets it work behind a pooler that gives each transaction another session.

use super::{IDLE_IN_TRANSACTION_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT, Tx};
use crate::config::Sessions;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    AssertSqlSafe, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

impl Sessions {
    /// A connection's options, as such sessions need them.
    pub(super) fn fit(self, options: PgConnectOptions) -> PgConnectOptions {
        match self {
            Sessions::Own => options,
            // A statement that was kept would be looked for in a session that never heard of it.
            Sessions::Shared => options.statement_cache_capacity(0),
        }
    }

    /// What begins a transaction, and whatever `settings` it wants besides (`set local …`), in one message.
    ///
    /// A session that is shared is first cleared of what others have prepared: their names are ours too, and what stands under
    /// them is not ours. One message reaches one session, and from BEGIN on it stays until the end. The first COMMIT is there
    /// because clearing takes a snapshot, and after that no transaction can be told its isolation any more.
    pub fn beginning(self, settings: &str) -> String {
        match self {
            Sessions::Own => format!("begin; {settings}"),
            Sessions::Shared => format!(
                "deallocate all; begin; commit; begin; set local timezone = 'UTC'; set local statement_timeout = '{STATEMENT_TIMEOUT}'; \
                 set local lock_timeout = '{LOCK_TIMEOUT}'; \
                 set local idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT}'; {settings}"
            ),
        }
    }
}

/// The one pool. Cheap to clone. Queries run on it directly; where sessions are shared, each in a transaction of its own that is
/// committed before the answer is given.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: PgPool,
    sessions: Sessions,
}

impl From<PgPool> for Pool {
    /// Whose sessions are its own.
    fn from(connections: PgPool) -> Self {
        Pool { connections, sessions: Sessions::Own }
    }
}

impl Pool {
    /// On connections whose options fit such sessions.
    pub(super) fn of(connections: PgPool, sessions: Sessions) -> Self {
        Pool { connections, sessions }
    }

    /// As it is, but made when it is first asked, with as many connections at the most.
    pub fn lazily_beside(&self, settings: PgPoolOptions, options: PgConnectOptions) -> Self {
        let settings = settings.max_connections(self.connections.options().get_max_connections());
        Pool::of(settings.connect_lazy_with(self.sessions.fit(options)), self.sessions)
    }

    /// Whose its sessions are.
    pub fn sessions(&self) -> Sessions {
        self.sessions
    }

    /// The connections themselves, to count, hold or close them. Queries belong on the pool: where sessions are shared, what is
    /// asked on a bare connection may reach another session than it was prepared in.
    pub fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// How its connections are opened.
    pub fn connect_options(&self) -> Arc<PgConnectOptions> {
        self.connections.connect_options()
    }

    /// Connections that are open.
    pub fn size(&self) -> u32 {
        self.connections.size()
    }

    /// Connections that nobody uses.
    pub fn num_idle(&self) -> usize {
        self.connections.num_idle()
    }

    /// Closes all connections, when they come back.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    /// A connection for several reads. What is written on it is lost where sessions are shared: write in a transaction.
    pub async fn acquire(&self) -> Result<Loan, sqlx::Error> {
        match self.sessions {
            Sessions::Own => Ok(Loan(Lent::Connection(self.connections.acquire().await?))),
            Sessions::Shared => Ok(Loan(Lent::Transaction(self.begin_with("set transaction read only").await?))),
        }
    }

    /// Begins a transaction, in a task of its own: a caller that is dropped meanwhile can't leave it open on a pooled connection
    /// (sqlx#4393).
    #[allow(clippy::disallowed_methods, reason = "this is the one place that begins transactions")]
    pub(super) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        match self.sessions {
            Sessions::Own => {
                let connections = self.connections.clone();
                tokio::spawn(async move { connections.begin().await }).await.map_err(|_| sqlx::Error::WorkerCrashed)?
            }
            Sessions::Shared => self.begin_with("").await,
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the one place that begins transactions")]
    async fn begin_with(&self, settings: &str) -> Result<Tx, sqlx::Error> {
        let (connections, beginning) = (self.connections.clone(), AssertSqlSafe(self.sessions.beginning(settings)));
        tokio::spawn(async move { connections.begin_with(beginning).await }).await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }
}

/// A query on the pool is a transaction of its own: where sessions are shared, that is said.
impl<'p> Executor<'p> for &Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.sessions == Sessions::Own {
            return self.connections.fetch_many(query);
        }
        let pool = self.clone();
        let steps = async move {
            let mut tx = pool.begin().await?;
            let steps = tx.fetch_many(query).try_collect::<Vec<_>>().await?;
            // Nobody is told anything that is not committed.
            tx.commit().await?;
            Ok::<_, sqlx::Error>(stream::iter(steps.into_iter().map(Ok)))
        };
        stream::once(steps).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.sessions == Sessions::Own {
            return self.connections.fetch_optional(query);
        }
        let pool = self.clone();
        Box::pin(async move {
            let mut tx = pool.begin().await?;
            let row = tx.fetch_optional(query).await?;
            tx.commit().await?;
            Ok(row)
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.prepare_with(sql, parameters).await })
    }

    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.describe(sql).await })
    }
}

/// A connection that goes back when it is dropped.
#[derive(Debug)]
pub struct Loan(Lent);

#[derive(Debug)]
enum Lent {
    Connection(PoolConnection<Postgres>),
    /// Rolled back when it is dropped, which ends the turn.
    Transaction(Tx),
}

impl Deref for Loan {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.0 {
            Lent::Connection(connection) => connection,
            Lent::Transaction(tx) => tx,
        }
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.0 {
            Lent::Connection(connection) => connection,
            Lent::Transaction(tx) => tx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_session_is_cleared_before_it_begins_and_set_for_the_transaction_only() {
        let beginning = Sessions::Shared.beginning("set transaction read only");

        let clauses = beginning.split("; ").collect::<Vec<_>>();
        assert_eq!(clauses.first_chunk(), Some(&["deallocate all", "begin", "commit", "begin", "set local timezone = 'UTC'"]));
        assert!(clauses.contains(&"set local statement_timeout = '5s'") && clauses.last() == Some(&"set transaction read only"));
        assert!(clauses.iter().skip(4).all(|clause| clause.starts_with("set local ") || clause.starts_with("set transaction ")));
        assert_eq!(Sessions::Own.beginning("set local x = 1"), "begin; set local x = 1");
    }
}
