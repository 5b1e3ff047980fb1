//! Limits that several instances share: GCRA in one round trip to Redis. While Redis is away nobody waits for it: requests
//! count against this process's own limits, and a task of its own looks for Redis until it is back.

use super::model::{Key, Scope, Verdict};
use crate::{clock::Timestamp, meters};
use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use secrecy::{ExposeSecret as _, SecretString};
use std::{
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

/// From one look for Redis to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A minute, which every limit is for.
const MINUTE_MICROS: u64 = 60_000_000;

/// One bucket's theoretical arrival time (GCRA), in microseconds since 1970; it goes by itself when the bucket is full
/// again. The time is the caller's: one clock decides everywhere, and a test can move it.
/// Gives whether the request passes, and how many microseconds are used up.
const GCRA: &str = r"
local now, interval, full = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local arrival = math.max(tonumber(redis.call('get', KEYS[1]) or now), now)
local used = arrival - now + interval
if used > full then
    return {0, arrival - now}
end
redis.call('set', KEYS[1], string.format('%.0f', arrival + interval), 'px', math.ceil(used / 1000))
return {1, used}
";

/// The buckets in Redis.
pub struct Shared(Arc<Line>);

/// The line to Redis, which may be down.
struct Line {
    client: Client,
    script: Script,
    /// A request waits no longer; then Redis is away.
    answer_within: Duration,
    /// None while Redis is away; then a task looks for it.
    connection: RwLock<Option<MultiplexedConnection>>,
}

impl Shared {
    /// Begins to look for Redis; until it is found, [`Shared::check`] gives none. No request waits for it longer than
    /// `answer_within`.
    ///
    /// # Errors
    ///
    /// When the URL can't be read; nobody is asked yet.
    pub fn at(url: &SecretString, answer_within: Duration) -> Result<Self, RedisError> {
        let client = Client::open(url.expose_secret())?;
        let line = Arc::new(Line { client, script: Script::new(GCRA), answer_within, connection: RwLock::new(None) });
        tokio::spawn(look_for(Arc::downgrade(&line)));
        Ok(Shared(line))
    }

    /// Whether limits are shared just now.
    pub fn is_there(&self) -> bool {
        self.0.connection.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Counts one request; none while Redis is away.
    pub async fn check(&self, scope: Scope, limit: NonZeroU32, key: Key, now: Timestamp) -> Option<Verdict> {
        let mut connection = self.0.connection.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let interval = (MINUTE_MICROS / u64::from(limit.get())).max(1);
        let full = interval.saturating_mul(u64::from(limit.get()));
        let mut call = self.0.script.key(name(scope, limit, key));
        call.arg(now.timestamp_micros()).arg(interval).arg(full);
        let asked = tokio::time::timeout(self.0.answer_within, call.invoke_async::<(u8, u64)>(&mut connection)).await;
        match asked {
            Ok(Ok((passes, used))) => Some(verdict(limit, interval, full, (passes == 1, used))),
            Ok(Err(error)) => self.lost(&error.to_string()),
            Err(_) => self.lost("no answer in time"),
        }
    }

    /// Once for each loss, however many requests have met it.
    fn lost(&self, reason: &str) -> Option<Verdict> {
        let was_there = self.0.connection.write().unwrap_or_else(PoisonError::into_inner).take().is_some();
        if was_there {
            tracing::warn!(reason, "Redis is away: limits are this process's own until it is back");
            meters::throttle_shared(false);
            tokio::spawn(look_for(Arc::downgrade(&self.0)));
        }
        None
    }
}

/// Looks for Redis until it answers, or nobody needs it any more.
async fn look_for(line: Weak<Line>) {
    // Each wait has its limit here; a stopped Redis still takes connections.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    loop {
        let Some(client) = line.upgrade().map(|line| line.client.clone()) else { return };
        let found = tokio::time::timeout(LOOK_EVERY, client.get_multiplexed_async_connection_with_config(&config)).await;
        let Some(line) = line.upgrade() else { return };
        if let Ok(Ok(connection)) = found {
            *line.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection);
            tracing::info!("limits are shared through Redis");
            return meters::throttle_shared(true);
        }
        drop(line);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn verdict(limit: NonZeroU32, interval: u64, full: u64, (passes, used): (bool, u64)) -> Verdict {
    let remaining = u32::try_from(full.saturating_sub(used) / interval).unwrap_or(u32::MAX);
    let wait = Duration::from_micros(used.saturating_add(interval).saturating_sub(full)).max(Duration::from_secs(1));
    Verdict {
        limit: limit.get(),
        remaining: if passes { remaining } else { 0 },
        reset_after: Duration::from_micros(used),
        retry_after: (!passes).then_some(wait),
    }
}

/// A limit is part of the name: a change of plan selects another bucket, as it does in the process.
fn name(scope: Scope, limit: NonZeroU32, key: Key) -> String {
    match key {
        Key::Account(account) => format!("igny8:throttle:{scope}:{limit}:account:{account}"),
        Key::Address(address) => format!("igny8:throttle:{scope}:{limit}:address:{address}"),
        Key::Email(hash) => format!("igny8:throttle:{scope}:{limit}:email:{hash:x}"),
    }
}
