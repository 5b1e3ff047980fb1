//! What every request can reach: the pool, the clock, the configuration and the services that keep something in memory.

use crate::{
    auth::service::{Authenticator, Desk},
    clock::Clock,
    config::Config,
    credits::batch::combiner::{self, Combiner},
    db::Pool,
    gate::{acquaintances::Acquaintances, lookups::Lookups, service::Lookup},
    meters::Requests,
    period::days,
    replica::Reads,
    throttle::{service::Throttle, shared::Shared},
};
use sqlx::postgres::PgConnectOptions;
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::task::TaskTracker;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of the state.
pub struct Parts {
    /// The one pool.
    pub pool: Pool,
    /// Where reads go that may be a little old.
    pub reads: Reads,
    /// The only reader of the wall clock.
    pub clock: Arc<dyn Clock>,
    /// What the environment said.
    pub config: Config,
    /// Tokens and passwords.
    pub authenticator: Authenticator,
    /// Spends, committed together.
    pub combiner: Combiner,
    /// Who was let in before.
    pub acquaintances: Acquaintances,
    /// Who is asked for now.
    pub lookups: Lookups,
    /// The limiters.
    pub throttle: Throttle,
    /// How long requests took.
    pub requests: Requests,
    /// Requests that are being answered, also those whose client has gone.
    pub tasks: TaskTracker,
    /// Set when the server was told to stop.
    is_draining: AtomicBool,
}

impl AppState {
    /// Puts the parts together. One instance per server, or per test.
    pub fn new(pool: impl Into<Pool>, clock: Arc<dyn Clock>, config: Config, authenticator: Authenticator) -> Self {
        let pool = pool.into();
        // A URL that can't be read was refused with the configuration.
        let shared = config.redis_url.as_ref().and_then(|url| Shared::at(url, Duration::from_millis(config.redis_timeout_ms)).ok());
        let throttle = Throttle::new(Arc::clone(&clock), shared, config.throttle_disabled);
        let shards = combiner::Settings {
            connect: PgConnectOptions::clone(&pool.connect_options()),
            sessions: pool.sessions(),
            shards: config.combiner_shards,
            grace: days(config.grace_days),
        };
        let lookups = Lookups::start(&shards.connect, shards.sessions, shards.grace);
        let combiner = Combiner::start(shards);
        let replica_url = config.database_replica_url.as_ref();
        let reads = Reads::new(pool.clone(), replica_url, Arc::clone(&clock)).unwrap_or_else(|error| {
            // Never with settings that were parsed: those were asked for it.
            tracing::error!(%error, "the primary serves the replica's reads");
            Reads::of_primary(pool.clone())
        });
        AppState(Arc::new(Parts {
            pool,
            reads,
            clock,
            config,
            authenticator,
            combiner,
            acquaintances: Acquaintances::default(),
            lookups,
            throttle,
            requests: Requests::default(),
            tasks: TaskTracker::new(),
            is_draining: AtomicBool::new(false),
        }))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Parts {
    /// Whether the server was told to stop: it answers what it has and is not ready for more.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Where the gate looks people up.
    pub fn lookup(&self) -> Lookup<'_> {
        let grace = days(self.config.grace_days);
        Lookup { pool: &self.pool, acquaintances: &self.acquaintances, lookups: &self.lookups, grace }
    }

    /// What services need to sign somebody in.
    pub fn desk(&self) -> Desk<'_> {
        Desk { pool: &self.pool, authenticator: &self.authenticator, config: &self.config }
    }

    /// Tells everybody that the server stops.
    pub fn start_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }
}
