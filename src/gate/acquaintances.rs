//! Who was let in before by this process, so that a spend need not ask twice, and a read need not read him again.
//!
//! What stands here opens nothing. Of everybody who spends it says whose limit a request counts against, which account pays, and on
//! which version of the account's authority that rests: the statement that spends compares the version, in the row that it changes
//! anyway. Of fewer it keeps all that is known of them: the gate's query reads nobody again for whom the version is the same.

use super::model::{Person, SiteCaller, Ticket};
use crate::{
    auth::model::Role,
    clock::Timestamp,
    credits::model::Authority,
    ids::{AccountId, SessionId, SiteId, UserId},
    sites::model::HomeUrl,
};
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Sessions that are remembered at the most, some 250 bytes each, and as many keys; those asked for least are forgotten first.
const KNOWN_MAX: usize = 131_072;

/// Persons that are kept whole at the most, some 1.5 KB each, and as many sites.
const KEPT_MAX: usize = 16_384;

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
    persons: Cache<SessionId, Arc<Person>>,
    sites: Cache<[u8; 32], (HomeUrl, Arc<SiteCaller>)>,
}

impl Default for Acquaintances {
    fn default() -> Self {
        Acquaintances {
            sessions: Cache::new(KNOWN_MAX),
            keys: Cache::new(KNOWN_MAX),
            persons: Cache::new(KEPT_MAX),
            sites: Cache::new(KEPT_MAX),
        }
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

    /// Keeps a person as he was just found. Not who acts in another account than his own, and no developer: what else is asked
    /// of those, a second factor and the account's life, no version counts.
    pub fn keep(&self, person: &Person) {
        if person.user.account.is_some() && !person.is_guest() && person.user.role != Role::Developer {
            self.persons.insert(person.session, Arc::new(person.clone()));
        }
    }

    /// Keeps a site as it was just found by its key, from where its plugin says it runs.
    pub fn keep_site(&self, site: &SiteCaller, key_sha256: [u8; 32], home: &HomeUrl) {
        self.sites.insert(key_sha256, (home.clone(), Arc::new(site.clone())));
    }

    /// The person as he was found last: so he is still, if the authority of his account is.
    pub fn recall(&self, ticket: Ticket, now: Timestamp) -> Option<Arc<Person>> {
        let kept = self.persons.get(&ticket.session)?;
        (kept.user.id == ticket.user && ticket.named.is_none() && now < kept.steady_until).then_some(kept)
    }

    /// The site as it was found last by this key and from this address: so it is still, if the authority of its account is.
    pub fn recall_site(&self, key_sha256: &[u8; 32], told: &HomeUrl, now: Timestamp) -> Option<Arc<SiteCaller>> {
        let (home, kept) = self.sites.get(key_sha256)?;
        (home == *told && now < kept.steady_until).then_some(kept)
    }

    /// Forgets somebody who is not what he was any more.
    pub fn forget(&self, who: &Who) {
        match who {
            Who::Person { session, .. } => {
                self.sessions.remove(session);
                self.persons.remove(session);
            }
            Who::Site { key_sha256, .. } => {
                self.keys.remove(key_sha256);
                self.sites.remove(key_sha256);
            }
        }
    }
}
