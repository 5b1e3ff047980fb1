//! The database that a command works on: the one that DATABASE_URL names, else our own.

use super::failure::Failure;
use igny8::{
    config::{AppEnv, Config, Sessions},
    db::{self, Pool},
    embedded::{Durability, PrivatePostgres, Settings, Stopped},
};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use std::time::Duration;

/// The database on a private server.
pub(crate) const NAME: &str = "igny8";
/// How long connections may take to say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long the private server may take to stop; another process that uses it keeps it, and then we don't wait so long.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// An open database with the schema of this program.
pub(crate) struct Database {
    pub(crate) pool: Pool,
    /// It had no schema before.
    pub(crate) is_new: bool,
    private: Option<PrivatePostgres>,
}

impl Database {
    /// Connects, after the schema was brought up to date or, in production, found to be.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        let Some(url) = &config.database_url else { return Self::open_private(config).await };
        let options = db::connect_options(url, "DATABASE_URL")?;
        if config.database_pooler == Sessions::Own {
            db::require_own_sessions(&options).await?;
        }
        let is_new = match config.app_env {
            AppEnv::Development => is_everything(migrate(config, url).await?),
            AppEnv::Production => false,
        };
        let pool = db::open_pool(options, config).await?;
        if config.app_env == AppEnv::Production {
            require_current(&pool).await?;
        }
        Ok(Database { pool, is_new, private: None })
    }

    async fn open_private(config: &Config) -> Result<Self, Failure> {
        let private = start(config).await?;
        let options = options_of(&private)?;
        let is_new = is_everything(db::migrate(&options).await?);
        Ok(Database { pool: db::open_pool(options, config).await?, is_new, private: Some(private) })
    }

    /// Lets go of it, and of the private server if that is ours.
    pub(crate) async fn close(self) {
        if tokio::time::timeout(CLOSE_LIMIT, self.pool.close()).await.is_err() {
            tracing::warn!("connections to the database did not close in time");
        }
        if let Some(private) = self.private {
            stop(private).await;
        }
    }
}

/// Applies migrations to the database that DATABASE_URL names, as its owner where one is named, and then grants the
/// application's user what it needs. Gives how many were applied.
pub(crate) async fn migrate(config: &Config, url: &SecretString) -> Result<usize, Failure> {
    if config.database_pooler == Sessions::Shared && config.database_migrate_url.is_none() {
        let why = "DATABASE_MIGRATE_URL: required beside DATABASE_POOLER=transaction; it leads past the pooler, for migrations \
                   need a session of their own";
        return Err(Failure::misused(why));
    }
    let application = db::connect_options(url, "DATABASE_URL")?;
    let owner = config.database_migrate_url.as_ref().map(|url| db::connect_options(url, "DATABASE_MIGRATE_URL")).transpose()?;
    let count = db::migrate(owner.as_ref().unwrap_or(&application)).await?;
    if let Some(owner) = owner.filter(|owner| owner.get_username() != application.get_username()) {
        db::grant_to_application(&owner, application.get_username()).await?;
    }
    Ok(count)
}

/// Applies migrations to the private database. Gives how many were applied.
pub(crate) async fn migrate_private(config: &Config) -> Result<usize, Failure> {
    let private = start(config).await?;
    let migrated = db::migrate(&options_of(&private)?).await;
    stop(private).await;
    Ok(migrated?)
}

async fn require_current(pool: &Pool) -> Result<(), Failure> {
    let is_current = db::is_current(&mut *pool.acquire().await.map_err(db::DatabaseError::Connect)?).await?;
    if is_current { Ok(()) } else { Err(Failure::failed("the database's schema is older than this program; run `igny8 migrate` first")) }
}

async fn start(config: &Config) -> Result<PrivatePostgres, Failure> {
    let settings = Settings { data_dir: config.data_dir.clone(), bin_dir: config.pg_bin_dir.clone(), durability: Durability::Durable };
    let private = start_server(settings).await?;
    let report = private.report();
    if let Some(dir) = &report.fallback_dir {
        tracing::warn!(dir = %dir.display(), "the database's account can't enter DATA_DIR; its data is kept elsewhere");
    }
    tracing::debug!(joined = report.joined, adopted = report.adopted, made = report.initdb.is_some(), took = ?report.total, "the private Postgres runs");
    Ok(private)
}

/// Starts a private server with our database in it, which may be empty.
pub(crate) async fn start_server(settings: Settings) -> Result<PrivatePostgres, Failure> {
    let starting = tokio::task::spawn_blocking(move || PrivatePostgres::start(&settings)).await;
    let private = starting.map_err(|error| Failure::failed(format!("the private Postgres did not start: {error}")))??;
    let server = db::connect_options(&SecretString::from(private.url("postgres")), "the private Postgres")?;
    db::create_if_missing(&server, NAME).await?;
    Ok(private)
}

/// How to connect to our database on it.
pub(crate) fn options_of(private: &PrivatePostgres) -> Result<PgConnectOptions, Failure> {
    Ok(db::connect_options(&SecretString::from(private.url(NAME)), "the private Postgres")?)
}

/// Lets go of it, and waits for its end unless others use it too.
pub(crate) async fn stop(private: PrivatePostgres) {
    if private.report().joined {
        return; // Somebody else started it and waits for its end.
    }
    match tokio::task::spawn_blocking(move || private.stop(STOP_LIMIT)).await {
        Ok(Stopped::Down) => {}
        Ok(Stopped::StillUsed) => tracing::debug!("the private Postgres is used by another process"),
        Err(error) => tracing::warn!(%error, "the private Postgres was left to its watchdog"),
    }
}

fn is_everything(applied: usize) -> bool {
    applied > 0 && applied == db::MIGRATOR.iter().count()
}
