//! A shard's own connection, also where its sessions are shared: then every statement stands in a transaction that says how it
//! is planned.

use super::store::{Columns, append_where_unchanged};
use crate::{
    clock::Timestamp,
    config::Sessions,
    credits::pricing::{self, model::Prices},
    db::StoreError,
    ids::AccountId,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction, postgres::PgConnectOptions};

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
    pub async fn open(options: &PgConnectOptions, sessions: Sessions) -> Result<Self, StoreError> {
        let connection = PgConnection::connect_with(&options.clone().options(PLANNING)).await?;
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

    /// What everything costs.
    pub async fn list_prices(&mut self) -> Result<Prices, StoreError> {
        match self.sessions {
            Sessions::Own => pricing::store::list_prices(&mut self.connection).await,
            Sessions::Shared => {
                let mut tx = self.begin().await?;
                let prices = pricing::store::list_prices(&mut *tx).await?;
                tx.commit().await?;
                Ok(prices)
            }
        }
    }

    /// [`append_where_unchanged`] alone: committed when it returns.
    pub async fn append(&mut self, columns: &Columns, now: Timestamp) -> Result<Vec<AccountId>, StoreError> {
        match self.sessions {
            Sessions::Own => append_where_unchanged(&mut self.connection, columns, now).await,
            Sessions::Shared => {
                let mut tx = self.begin().await?;
                let written = append_where_unchanged(&mut tx, columns, now).await?;
                tx.commit().await?;
                Ok(written)
            }
        }
    }
}
