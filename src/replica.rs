//! Reads that may be a little old (lists, reports) go to a replica where there is one. Balances, permissions and whatever
//! decides about a write never do: they name the one pool.

use crate::{
    clock::Clock,
    db::{self, Pool},
};
use secrecy::SecretString;
use sqlx::postgres::PgPoolOptions;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a replica may take to answer before the primary serves instead.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How long a replica that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// Where such reads go.
pub struct Reads {
    primary: Pool,
    replica: Option<Replica>,
}

struct Replica {
    pool: Pool,
    clock: Arc<dyn Clock>,
    /// Until when it is left alone, on the clock's `elapsed`; none while it answers.
    away_until: Mutex<Option<Duration>>,
}

impl Reads {
    /// From the replica that `DATABASE_REPLICA_URL` names, else from the primary. Connects when it is first asked, with as
    /// many connections as the primary's pool at the most.
    ///
    /// # Errors
    ///
    /// When the URL can't be read.
    pub fn new(primary: Pool, replica_url: Option<&SecretString>, clock: Arc<dyn Clock>) -> Result<Self, db::DatabaseError> {
        let Some(url) = replica_url else { return Ok(Reads::of_primary(primary)) };
        let options = db::connect_options(url, "DATABASE_REPLICA_URL")?;
        let pool = primary.lazily_beside(PgPoolOptions::new().acquire_timeout(ANSWER_LIMIT), options);
        let replica = Replica { pool, clock, away_until: Mutex::new(None) };
        Ok(Reads { primary, replica: Some(replica) })
    }

    /// From the primary.
    pub fn of_primary(primary: Pool) -> Self {
        Reads { primary, replica: None }
    }

    /// The pool to read from at this moment.
    pub async fn pool(&self) -> &Pool {
        match &self.replica {
            Some(replica) if replica.answers().await => &replica.pool,
            _ => &self.primary,
        }
    }
}

impl Replica {
    /// Whether it serves now. Asked again a while after it did not; both changes are told once.
    async fn answers(&self) -> bool {
        let now = self.clock.elapsed();
        let before = *self.lock();
        if before.is_some_and(|until| now < until) {
            return false;
        }
        // Tries the connection before it gives it, or opens one.
        let answer = self.pool.connections().acquire().await;
        let was_away = std::mem::replace(&mut *self.lock(), answer.is_err().then_some(now + PAUSE)).is_some();
        match (&answer, was_away) {
            (Err(error), false) => tracing::warn!(%error, "the replica does not answer; the primary serves its reads"),
            (Ok(_), true) => tracing::info!("the replica answers again"),
            (Err(_), true) | (Ok(_), false) => {}
        }
        answer.is_ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
