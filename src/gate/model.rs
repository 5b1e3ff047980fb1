//! Who is asking, and what is known of him: everything that authorising a request needs, from one query.

use crate::{
    accounts::model::Account,
    auth::model::{Role, TokenPair},
    clock::Timestamp,
    credits::model::Pools,
    ids::{AccountId, SessionId, SiteId, SiteKeyId, UserId},
    plans::model::Plan,
    sites::{clones::model::OtherHome, keys::model::KeyScope},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A user, as clients see him.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct User {
    /// His number.
    pub id: UserId,
    /// Canonical address.
    #[schema(example = "ana@example.com")]
    pub email: String,
    /// His name for himself.
    pub username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// What he may do.
    pub role: Role,
    /// Imported from the old system; grants nothing by itself.
    pub is_superuser: bool,
    /// Whether the address was proven.
    pub email_verified: bool,
    /// Whether the plan has no seat for him: he may only read, in his account, until there is room.
    pub is_frozen: bool,
    /// His account.
    pub account: Option<Account>,
}

/// What a request says of who sends it, before anybody is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// The login session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The account that he wants to act in, where he named one.
    pub named: Option<AccountId>,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// His login session.
    pub session: SessionId,
    /// He, with account, plan and subscription as they stand now.
    pub user: User,
    /// Whether the account that he acts in is staff's own.
    pub is_system_account: bool,
    /// The account that he belongs to; a developer may act in another.
    pub home: Option<AccountId>,
    /// A developer without a second factor. Where configuration asks for one, he may do no more than set it up.
    pub must_enroll: bool,
    /// Until when, by time alone, nothing of all this can change.
    pub steady_until: Timestamp,
}

impl Person {
    /// Whether he acts in an account that is not his own, which only developers do.
    pub fn is_guest(&self) -> bool {
        self.user.account.as_ref().map(|account| account.id) != self.home
    }

    /// Whether he administers billing: a developer, or admin or owner of a system account, never a tenant's own
    /// (requirements, section 1).
    pub fn is_billing_admin(&self) -> bool {
        self.user.role == Role::Developer || (self.is_system_account && self.user.role.includes(Role::Admin))
    }
}

/// What registration and login answer: who you are, and what to prove it with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Welcome {
    /// He, with account, plan and subscription as they stand now.
    pub user: User,
    /// His tokens.
    #[serde(flatten)]
    pub tokens: TokenPair,
    /// The paid plan that a registration named, to be taken to the payment page (A4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_plan: Option<Plan>,
}

/// A question for the person behind a ticket.
#[derive(Clone, Debug)]
pub struct PersonAsked {
    /// What his request says of him.
    pub ticket: Ticket,
    /// He, as he was found before: read again only where the authority of his account is another.
    pub known: Option<Arc<Person>>,
    /// When he asks.
    pub now: Timestamp,
}

/// A question for the site behind a key.
#[derive(Clone, Debug)]
pub struct SiteAsked {
    /// SHA-256 of the key.
    pub key_sha256: [u8; 32],
    /// Where its plugin says it runs.
    pub place: Option<String>,
    /// The site, as it was found before, from that place.
    pub known: Option<Arc<SiteCaller>>,
    /// When it asks.
    pub now: Timestamp,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub enum Found<K, R> {
    /// As known; only the credits may be others than they were.
    AsKnown(Arc<K>, Pools),
    /// Read, if there.
    Anew(Option<R>),
}

impl<K, R> Found<K, R> {
    /// What was read.
    pub fn anew(self) -> Option<R> {
        match self {
            Found::AsKnown(..) => None,
            Found::Anew(read) => read,
        }
    }
}

/// A site that calls by its key: a principal of its own, never its owner.
#[derive(Clone, Debug)]
pub struct SiteCaller {
    /// The key it used.
    pub key: SiteKeyId,
    /// The one site it may see.
    pub site: SiteId,
    /// The site's name.
    pub site_name: String,
    /// The site's word.
    pub site_slug: String,
    /// The site's home address.
    pub site_url: Option<String>,
    /// Whether the site is switched on.
    pub site_is_active: bool,
    /// Whether it is beyond what the plan has room for: it may only read.
    pub site_is_frozen: bool,
    /// What the key opens.
    pub scopes: Vec<KeyScope>,
    /// The address that the plugin says it runs at, where that is not the site's: it may only read.
    pub other_home: Option<OtherHome>,
    /// Until when, by time alone, nothing of all this can change.
    pub steady_until: Timestamp,
    /// The site's account as it stands now.
    pub account: Account,
}

/// A key that was found, whatever it is still worth.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The site that it would let in, with its account as it stands now.
    pub caller: SiteCaller,
    /// When the key was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Whether the address that the plugin says it runs at was noted before as not the site's.
    pub clone_is_known: bool,
    /// Whether the site is deleted.
    pub site_is_deleted: bool,
    /// Whether the account is deleted.
    pub account_is_deleted: bool,
}

/// What a request is up to, by its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It changes nothing.
    Read,
    /// It may.
    Write,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A person with a token.
    Person(Box<Person>),
    /// A site with a key.
    Site(Box<SiteCaller>),
}

impl Principal {
    /// The account that he acts in.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Principal::Person(person) => person.user.account.as_ref(),
            Principal::Site(site) => Some(&site.account),
        }
    }

    /// The account whose limits his requests count against: staff who help a customer don't use up the customer's.
    pub fn counted_account(&self) -> Option<AccountId> {
        match self {
            Principal::Person(person) => person.home,
            Principal::Site(site) => Some(site.account.id),
        }
    }

    /// How ledger and audit name him: `user:7`, `site:3`.
    pub fn actor(&self) -> String {
        match self {
            Principal::Person(person) => format!("user:{}", person.user.id),
            Principal::Site(site) => format!("site:{}", site.site),
        }
    }
}
