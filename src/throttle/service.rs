//! The limiters: `governor` (GCRA), one per scope and limit, keyed by whom it counts, on the injected clock; or Redis, where
//! several instances share their limits.

use super::{
    model::{Key, Scope, Verdict},
    shared::Shared,
};
use crate::{clock::Clock, meters};
use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::StateInformationMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// The injected clock, as `governor` wants it.
#[derive(Clone)]
struct LimiterClock(Arc<dyn Clock>);

impl GovernorClock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

/// A key as the buckets have it: half as large, for there may be a million of them. An IPv6 network is its first 64 bits.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Slot(Kind, u64);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Account,
    V4,
    V6,
    Email,
}

impl From<Key> for Slot {
    fn from(key: Key) -> Self {
        match key {
            Key::Account(account) => Slot(Kind::Account, account.cast_unsigned()),
            Key::Address(IpAddr::V4(address)) => Slot(Kind::V4, u64::from(address.to_bits())),
            Key::Address(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Slot(Kind::V6, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
            Key::Email(hash) => Slot(Kind::Email, hash),
        }
    }
}

type Limiter = RateLimiter<Slot, DashMapStateStore<Slot>, LimiterClock, StateInformationMiddleware>;

/// An empty bucket is full again after this long.
const FULL_AFTER: Duration = Duration::from_secs(60);

/// All buckets of this process.
pub struct Throttle {
    clock: LimiterClock,
    /// One limiter per scope and requests a minute: a change of plan selects another one.
    limiters: RwLock<HashMap<(Scope, u32), Arc<Limiter>>>,
    /// Asked first, where there is one.
    shared: Option<Shared>,
    is_disabled: bool,
}

impl Throttle {
    /// Empty buckets, and those in Redis where instances share them. `is_disabled` is the development switch that production
    /// refuses.
    pub fn new(clock: Arc<dyn Clock>, shared: Option<Shared>, is_disabled: bool) -> Self {
        Throttle { clock: LimiterClock(clock), limiters: RwLock::default(), shared, is_disabled }
    }

    /// Whether limits are shared with other instances just now.
    pub fn is_shared(&self) -> bool {
        self.shared.as_ref().is_some_and(Shared::is_there)
    }

    /// Counts one request. `factor` is the plan's; 1 where there is none.
    pub async fn check(&self, scope: Scope, factor: i32, key: Key) -> Verdict {
        let per_minute = scope.per_minute().saturating_mul(u32::try_from(factor).unwrap_or(1).max(1));
        let limit = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        if self.is_disabled {
            return Verdict { limit: limit.get(), remaining: limit.get(), reset_after: Duration::ZERO, retry_after: None };
        }
        let shared = match &self.shared {
            Some(shared) => shared.check(scope, limit, key, self.clock.0.now()).await,
            None => None,
        };
        let verdict = shared.unwrap_or_else(|| self.check_own(scope, limit, key));
        if verdict.retry_after.is_some() {
            meters::throttled(scope.as_str());
        }
        verdict
    }

    /// Counts against this process's own buckets.
    fn check_own(&self, scope: Scope, limit: NonZeroU32, key: Key) -> Verdict {
        let limiter = self.limiter(scope, limit);
        match limiter.check_key(&Slot::from(key)) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let used = limit.get().saturating_sub(remaining);
                Verdict {
                    limit: limit.get(),
                    remaining,
                    reset_after: snapshot.quota().replenish_interval().saturating_mul(used),
                    retry_after: None,
                }
            }
            Err(refusal) => {
                let wait = refusal.wait_time_from(self.clock.now());
                Verdict { limit: limit.get(), remaining: 0, reset_after: FULL_AFTER, retry_after: Some(wait.max(Duration::from_secs(1))) }
            }
        }
    }

    /// Forgets buckets that are full again; to be called about once a minute.
    pub fn sweep(&self) {
        for limiter in self.limiters.read().unwrap_or_else(PoisonError::into_inner).values() {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn limiter(&self, scope: Scope, limit: NonZeroU32) -> Arc<Limiter> {
        let slot = (scope, limit.get());
        if let Some(known) = self.limiters.read().unwrap_or_else(PoisonError::into_inner).get(&slot) {
            return Arc::clone(known);
        }
        let mut limiters = self.limiters.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let quota = Quota::per_minute(limit);
            Arc::new(Limiter::new(quota, DashMapStateStore::default(), self.clock.clone()))
        };
        Arc::clone(limiters.entry(slot).or_insert_with(fresh))
    }
}

impl Key {
    /// The bucket of a client address: an IPv6 one by its /64, which is what one customer is given.
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Key::Address(IpAddr::V4(v4)),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Key::Address(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }

    /// The bucket of an e-mail address in canonical form.
    pub fn email(email: &str) -> Self {
        let hash = crate::secrets::sha256(email);
        let (head, _) = hash.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Key::Email(u64::from_be_bytes(*head))
    }
}
