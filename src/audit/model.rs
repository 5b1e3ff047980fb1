//! What an entry of the log says.

use crate::{clock::Timestamp, ids::AccountId};
use serde_json::Value;

/// Where a change came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `user:7`, `site:3`, `system`, `cli`, `anonymous`.
    pub actor: String,
    /// The request, where there was one.
    pub request_id: Option<String>,
    /// The client's address, where there was one.
    pub client_address: Option<String>,
}

impl Origin {
    /// The scheduler.
    pub fn system() -> Self {
        Origin { actor: "system".to_owned(), request_id: None, client_address: None }
    }

    /// Somebody at the command line.
    pub fn cli() -> Self {
        Origin { actor: "cli".to_owned(), request_id: None, client_address: None }
    }
}

/// One privileged change.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The account it concerns.
    pub account: Option<AccountId>,
    /// Room and past tense: `transfer.confirmed`.
    pub action: &'static str,
    /// What it was done to: `account:29`.
    pub target: String,
    /// What stood there before.
    pub before: Value,
    /// What stands there now.
    pub after: Value,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}
