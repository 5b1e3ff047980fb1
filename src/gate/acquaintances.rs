//! Who was let in before by this process, so that a spend need not ask twice.
//!
//! What stands here opens nothing. It says whose limit a request counts against, which account pays, and on which version of the
//! account's authority that rests. The statement that spends compares the version, in the row that it changes anyway.

use super::model::{Person, SiteCaller, Ticket};
use crate::{
    clock::Timestamp,
    credits::model::Authority,
    ids::{AccountId, SessionId, SiteId, UserId},
    sites::model::HomeUrl,
};
use quick_cache::sync::Cache;

/// Sessions that are remembered at the most, some 250 bytes each, and as many keys; those asked for least are forgotten first.
const KNOWN_MAX: usize = 131_072;

/// Who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person.
    Person {
        /// His session.
        session: SessionId,
        /// He.
        user: UserId,
    },
    /// A site that is at home, with a key that may spend.
    Site {
        /// SHA-256 of its key.
        key_sha256: [u8; 32],
        /// It.
        site: SiteId,
        /// The address that its plugin told.
        home: HomeUrl,
    },
}

/// Somebody as he was when he was let in last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// Who.
    pub who: Who,
    /// The account that pays.
    pub account: AccountId,
    /// The account's factor: its own or its plan's.
    pub throttle_factor: i32,
    /// What his right to spend rested on.
    pub authority: Authority,
    /// Until when it stands, if the authority does.
    pub steady_until: Timestamp,
}

/// All acquaintances of this process.
pub struct Acquaintances {
    sessions: Cache<SessionId, Acquaintance>,
    keys: Cache<[u8; 32], Acquaintance>,
}

impl Default for Acquaintances {
    fn default() -> Self {
        Acquaintances { sessions: Cache::new(KNOWN_MAX), keys: Cache::new(KNOWN_MAX) }
    }
}

impl Acquaintances {
    /// Remembers a person who was let in to spend just now, unless he acts in another account than his own.
    pub fn remember(&self, person: &Person) {
        let Some(account) = person.user.account.as_ref().filter(|_| !person.is_guest()) else { return };
        let known = Acquaintance {
            who: Who::Person { session: person.session, user: person.user.id },
            account: account.id,
            throttle_factor: account.throttle_factor,
            authority: account.authority,
            steady_until: person.steady_until,
        };
        self.sessions.insert(person.session, known);
    }

    /// Remembers a site that was let in to spend just now, by which key and from where.
    pub fn remember_site(&self, site: &SiteCaller, key_sha256: [u8; 32], home: HomeUrl) {
        let known = Acquaintance {
            who: Who::Site { key_sha256, site: site.site, home },
            account: site.account.id,
            throttle_factor: site.account.throttle_factor,
            authority: site.account.authority,
            steady_until: site.steady_until,
        };
        self.keys.insert(key_sha256, known);
    }

    /// The person, if his session was let in before for this very account and that still stands at `now`.
    pub fn find(&self, ticket: Ticket, account: Option<AccountId>, now: Timestamp) -> Option<Acquaintance> {
        let who = Who::Person { session: ticket.session, user: ticket.user };
        let known = self.sessions.get(&ticket.session)?;
        (known.who == who && Some(known.account) == account && now < known.steady_until).then_some(known)
    }

    /// The site, if its key was let in before from this very address and that still stands at `now`.
    pub fn find_site(&self, key_sha256: [u8; 32], told: &HomeUrl, now: Timestamp) -> Option<Acquaintance> {
        let known = self.keys.get(&key_sha256)?;
        let is_there = matches!(&known.who, Who::Site { home, .. } if home == told);
        (is_there && now < known.steady_until).then_some(known)
    }

    /// Forgets somebody who is not what he was any more.
    pub fn forget(&self, who: &Who) {
        match who {
            Who::Person { session, .. } => drop(self.sessions.remove(session)),
            Who::Site { key_sha256, .. } => drop(self.keys.remove(key_sha256)),
        }
    }
}
