//! Sessions that this process has let in before: who they were, so that a spend need not ask twice.
//!
//! What stands here opens nothing. It says whose limit a request counts against and which account it wants to spend from,
//! before the one statement that spends asks the database whether session, user, role, account and plan still allow it.

use super::model::{Person, Ticket};
use crate::ids::{AccountId, SessionId, UserId};
use moka::sync::Cache;

/// Sessions that are remembered at the most, some 200 bytes each; those asked for least are forgotten first.
const SESSIONS_MAX: u64 = 131_072;

/// A session as it was when it was last proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// His account.
    pub account: AccountId,
    /// The account's factor: its own or its plan's.
    pub throttle_factor: i32,
}

impl Acquaintance {
    /// Who is to be looked up to prove him.
    pub fn ticket(self) -> Ticket {
        Ticket { session: self.session, user: self.user, named: None }
    }
}

/// All acquaintances of this process.
pub struct Acquaintances(Cache<SessionId, Acquaintance>);

impl Default for Acquaintances {
    fn default() -> Self {
        Acquaintances(Cache::new(SESSIONS_MAX))
    }
}

impl Acquaintances {
    /// Remembers who was proven just now, unless he acts in another account than his own, or is somebody whose seat may freeze:
    /// whether it has is asked of him each time.
    pub fn remember(&self, person: &Person) {
        let account = person.user.account.as_ref().filter(|_| !person.is_guest() && person.user.role.keeps_seat());
        if let Some(account) = account.filter(|account| account.plan.is_some()) {
            let (session, user) = (person.session, person.user.id);
            self.0.insert(session, Acquaintance { session, user, account: account.id, throttle_factor: account.throttle_factor });
        }
    }

    /// The session, if it was proven before for this very user and account.
    pub fn find(&self, session: SessionId, user: UserId, account: Option<AccountId>) -> Option<Acquaintance> {
        self.0.get(&session).filter(|known| known.user == user && Some(known.account) == account)
    }

    /// Forgets a session that was not what it had been.
    pub fn forget(&self, session: SessionId) {
        self.0.invalidate(&session);
    }
}
