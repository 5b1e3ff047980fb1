//! The one pool, the migrations, and the one page that says what each SQLSTATE means.

mod link;
mod pool;

pub use link::{Link, gather};
pub use pool::{Loan, Pool};

use crate::{config::Config, meters, sealing::NotSealed};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    Connection as _, PgConnection, Postgres, Row as _, Transaction,
    migrate::{Migrate as _, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr as _, time::Duration};

/// The migrations, built into the binary.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// A transaction on the one pool.
pub type Tx = Transaction<'static, Postgres>;

const STATEMENT_TIMEOUT: &str = "5s";
const LOCK_TIMEOUT: &str = "2s";
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10s";
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const RETRIES_MAX: u32 = 5;

/// What a query can end with, told by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A constraint refused it; the name says which.
    #[error("constraint {0} refused the row")]
    Constraint(String),
    /// Two transactions stood in each other's way; the whole transaction may be tried again (40001, 40P01).
    #[error("the transaction collided with another")]
    Collision(#[source] sqlx::Error),
    /// A lock, statement or connection was not to be had in time, or the server is away (55P03, 57014, 53300 …).
    #[error("the database is busy or away")]
    Busy(#[source] sqlx::Error),
    /// Ours: a query that can't be right, or a connection left in a failed transaction (25P02).
    #[error("the database refused a query")]
    Broken(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the constraint of that name refused the row.
    pub fn is_constraint(&self, name: &str) -> bool {
        matches!(self, StoreError::Constraint(constraint) if constraint == name)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let state = error.as_database_error().and_then(|database| database.code()).map(|code| code.into_owned());
        count(&error, state.as_deref());
        match (&error, state.as_deref()) {
            (_, Some("23505" | "23503" | "23514" | "23P01" | "23502")) => {
                let constraint = error.as_database_error().and_then(|database| database.constraint()).unwrap_or("unnamed").to_owned();
                StoreError::Constraint(constraint)
            }
            (_, Some("40001" | "40P01")) => StoreError::Collision(error),
            (_, Some("55P03" | "57014" | "53300" | "57P01" | "57P02" | "57P03" | "08006" | "08003" | "25P03")) => StoreError::Busy(error),
            (sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_), _) => StoreError::Busy(error),
            _ => StoreError::Broken(error),
        }
    }
}

/// Counts what somebody should look at: what is no constraint, and a pool that had nothing left.
fn count(error: &sqlx::Error, sqlstate: Option<&str>) {
    match (error, sqlstate) {
        (sqlx::Error::PoolTimedOut, _) => meters::pool_timed_out(),
        (_, Some(sqlstate)) if !sqlstate.starts_with("23") => meters::database_error(sqlstate),
        _ => {}
    }
}

impl From<NotSealed> for StoreError {
    /// What can't be sealed can't be written.
    fn from(error: NotSealed) -> Self {
        StoreError::Broken(sqlx::Error::Encode(Box::new(error)))
    }
}

/// An error type that can tell whether trying the whole transaction again may help.
pub trait MayCollide {
    /// True for serialization failures and deadlocks only.
    fn is_collision(&self) -> bool;
}

impl MayCollide for StoreError {
    fn is_collision(&self) -> bool {
        matches!(self, StoreError::Collision(_))
    }
}

/// Runs a whole transaction again while it collides with others, at most five times, with jitter between.
///
/// Takes `|| async move { … }`: an `async` closure would not be `Send` in a handler (rust-lang/rust#110338).
pub async fn retried<T, E: MayCollide, F: Future<Output = Result<T, E>>>(mut attempt: impl FnMut() -> F) -> Result<T, E> {
    for round in 1..RETRIES_MAX {
        match attempt().await {
            Err(error) if error.is_collision() => {
                let [jitter] = crate::secrets::random_bytes::<1>();
                tokio::time::sleep(Duration::from_millis(u64::from(round) * 5 + u64::from(jitter) / 8)).await;
            }
            done => return done,
        }
    }
    attempt().await
}

/// Begins a transaction: the only way to begin one.
pub async fn begin(pool: &Pool) -> Result<Tx, StoreError> {
    Ok(pool.begin().await?)
}

/// How many rows a list has in all, where one page of it tells: it is not full, and has rows or is the first. So the
/// usual list costs one round trip; `None` asks for a count.
pub fn count_told_by_page(rows: usize, limit: i64, offset: i64) -> Option<i64> {
    let rows = i64::try_from(rows).ok()?;
    (rows < limit && (rows > 0 || offset == 0)).then_some(offset + rows)
}

/// Why the database can't serve.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL can't be read.
    #[error("{0} is no Postgres URL such as postgres://user:password@host:5432/igny8")]
    Url(&'static str, #[source] sqlx::Error),
    /// Nothing answers, or it refuses us.
    #[error("can't connect to the database: {0}")]
    Connect(#[source] sqlx::Error),
    /// Migrations failed.
    #[error("the migration failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A newer program has migrated it.
    #[error("the database's schema ({database}) is newer than this program's ({program}); deploy the newer program")]
    Newer {
        /// Newest migration that the database has.
        database: i64,
        /// Newest migration that the program has.
        program: i64,
    },
    /// Sessions don't have the settings that were asked for.
    #[error(
        "the connection pooler drops our session settings; give its database this connect_query: set timezone = 'UTC'; \
         set statement_timeout = '{STATEMENT_TIMEOUT}'; set lock_timeout = '{LOCK_TIMEOUT}'; \
         set idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT}'"
    )]
    Settings,
    /// Several connections take turns on one session.
    #[error(
        "the connection pooler lets connections take turns on one session (pool_mode = transaction), where the prepared \
         statements of one would run in another; set DATABASE_POOLER=transaction, or give it pool_mode = session"
    )]
    SharedSessions,
    /// Our own queries failed at start.
    #[error("the database refused a query at start: {0}")]
    Query(#[from] sqlx::Error),
}

/// Connection options with every session setting that the program relies on.
pub fn connect_options(url: &SecretString, name: &'static str) -> Result<PgConnectOptions, DatabaseError> {
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|error| DatabaseError::Url(name, error))?;
    Ok(options.application_name("igny8").options([
        ("TimeZone", "UTC"),
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("lock_timeout", LOCK_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        // No query here is so long that compiling it would pay: of a report it took three seconds beside one.
        ("jit", "off"),
    ]))
}

/// Opens the pool, after one plain connection has shown the true reason if there is none to be had.
pub async fn open_pool(options: PgConnectOptions, config: &Config) -> Result<Pool, DatabaseError> {
    PgConnection::connect_with(&options).await.map_err(DatabaseError::Connect)?.close().await?;
    let settings = PgPoolOptions::new().max_connections(config.database_pool_size).acquire_timeout(ACQUIRE_TIMEOUT);
    // A dead connection answers the query with an error just as well, one round trip earlier.
    let opened = settings.test_before_acquire(false).connect_with(config.database_pooler.fit(options)).await;
    Ok(Pool::of(opened.map_err(DatabaseError::Connect)?, config.database_pooler))
}

/// Refuses a pooler between us and Postgres that would break what everything here relies on: each connection is a session of
/// its own, with the settings of [`connect_options`]. Asked in the simple protocol, which no pooler mixes up.
///
/// # Errors
///
/// [`DatabaseError::Settings`] and [`DatabaseError::SharedSessions`], which say what to change.
pub async fn require_own_sessions(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut first = PgConnection::connect_with(options).await.map_err(DatabaseError::Connect)?;
    let names = ["timezone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    for (name, wanted) in names.into_iter().zip(["UTC", STATEMENT_TIMEOUT, LOCK_TIMEOUT, IDLE_IN_TRANSACTION_TIMEOUT]) {
        let setting = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("show {name}"))).fetch_one(&mut first).await?;
        if setting.try_get::<String, _>(0)? != wanted {
            return Err(DatabaseError::Settings);
        }
    }
    // While the first connection is open, a second one reaches the same server process only if they take turns.
    let mut second = PgConnection::connect_with(options).await.map_err(DatabaseError::Connect)?;
    let [one, other] = [backend_of(&mut first).await?, backend_of(&mut second).await?];
    first.close().await?;
    second.close().await?;
    if one == other { Err(DatabaseError::SharedSessions) } else { Ok(()) }
}

/// The process that serves a connection at this moment.
async fn backend_of(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("select pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}

/// Applies what is missing. Returns how many migrations were applied.
pub async fn migrate(options: &PgConnectOptions) -> Result<usize, DatabaseError> {
    // Migrations may take longer than a request.
    let options = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "30s")]);
    let mut connection = PgConnection::connect_with(&options).await.map_err(DatabaseError::Connect)?;
    let before = applied_versions(&mut connection).await?.len();
    refuse_newer(&mut connection).await?;
    MIGRATOR.run(&mut connection).await?;
    let after = applied_versions(&mut connection).await?.len();
    connection.close().await?;
    Ok(after.saturating_sub(before))
}

/// Inserts the reference data that is missing; what is there stays as it is. Returns how many rows were added.
pub async fn seed(pool: &Pool) -> Result<u64, DatabaseError> {
    // Since 0023 a plan's word is unique among the versions on offer, and Postgres wants to be told so.
    let seed = include_str!("../migrations/0009_seed.sql").replace("on conflict (slug)", "on conflict (slug) where superseded_at is null");
    Ok(sqlx::raw_sql(sqlx::AssertSqlSafe(seed)).execute(pool).await?.rows_affected())
}

/// Makes a database on a server of our own, unless it is there.
pub async fn create_if_missing(server: &PgConnectOptions, database: &str) -> Result<(), DatabaseError> {
    let mut connection = PgConnection::connect_with(server).await.map_err(DatabaseError::Connect)?;
    let statement = format!("create database \"{}\"", database.replace('"', "\"\""));
    match sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await {
        Ok(_) => {}
        // 42P04: it is there. 23505: another process makes it at this moment.
        Err(error)
            if error.as_database_error().and_then(|database| database.code()).is_some_and(|code| matches!(&*code, "42P04" | "23505")) => {}
        Err(error) => return Err(error.into()),
    }
    connection.close().await?;
    Ok(())
}

/// Whether every migration of this program is applied; an error when the database is newer.
pub async fn is_current(connection: &mut PgConnection) -> Result<bool, DatabaseError> {
    let applied = applied_versions(connection).await?;
    refuse_newer(connection).await?;
    Ok(MIGRATOR.iter().all(|migration| applied.contains(&migration.version)))
}

async fn refuse_newer(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let program = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    match applied_versions(connection).await?.into_iter().max() {
        Some(database) if database > program => Err(DatabaseError::Newer { database, program }),
        _ => Ok(()),
    }
}

async fn applied_versions(connection: &mut PgConnection) -> Result<Vec<i64>, DatabaseError> {
    let exists =
        sqlx::query_scalar!("select to_regclass('_sqlx_migrations') is not null as \"exists!\"").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(Vec::new());
    }
    Ok(connection.list_applied_migrations("_sqlx_migrations").await?.into_iter().map(|migration| migration.version).collect())
}

/// Gives the application's role what it needs and no more: no DDL, no change of ledger or audit rows.
pub async fn grant_to_application(owner: &PgConnectOptions, application_role: &str) -> Result<(), DatabaseError> {
    let role = format!("\"{}\"", application_role.replace('"', "\"\""));
    let statements = [
        // Before Postgres 15 everybody may create tables there.
        "revoke create on schema public from public".to_owned(),
        format!("grant usage on schema public to {role}"),
        format!("grant select, insert, update, delete on all tables in schema public to {role}"),
        format!("grant usage on all sequences in schema public to {role}"),
        format!(
            "revoke update, delete, truncate on credit_transactions, credit_refunds, credit_seals, audit_log, account_money_entries from {role}"
        ),
        format!(
            "revoke delete, truncate on invoices, payments, subscription_periods, approvals, bank_statements, bank_statement_lines from {role}"
        ),
        format!("revoke insert, update, delete, truncate on _sqlx_migrations from {role}"),
    ];
    let mut connection = PgConnection::connect_with(owner).await.map_err(DatabaseError::Connect)?;
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}
