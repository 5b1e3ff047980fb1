//! What an entry of the log says.

use crate::{
    clock::Timestamp,
    ids::{AccountId, AuditId},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

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

/// A row of the log, as platform staff see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogRow {
    /// Its number; later rows have greater ones.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: `user:7`, `site:3`, `system`, `cli`, `anonymous`.
    pub actor: String,
    /// Room and past tense.
    #[schema(example = "transfer.confirmed")]
    pub action: String,
    /// What it was done to.
    #[schema(example = "payment:29")]
    pub target: String,
    /// The account it concerns; null where none.
    pub account_id: Option<AccountId>,
    /// What stood there before.
    #[schema(value_type = Object)]
    pub before: Value,
    /// What stood there afterwards.
    #[schema(value_type = Object)]
    pub after: Value,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The request, where there was one.
    pub request_id: Option<String>,
    /// The client's address, where there was one.
    pub client_address: Option<String>,
}

/// Which rows of the log are shown.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only from this instant on.
    pub from: Option<Timestamp>,
    /// Only before this instant.
    pub to: Option<Timestamp>,
}
