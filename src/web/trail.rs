//! What is found out about a request on its way in, for whoever tells of it when it is over: the shell stands around the
//! router, where neither the route nor the caller is known yet.

use crate::ids::AccountId;
use axum::{
    extract::{MatchedPath, Request},
    http::Extensions,
};
use std::sync::{Arc, OnceLock};

/// A request's trail: the shell lays it, the doors write on it.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    route: OnceLock<MatchedPath>,
    account: OnceLock<AccountId>,
}

impl Trail {
    /// The template of the route that took the request, such as `/api/v1/auth/sites/{id}`.
    pub fn route(&self) -> Option<&str> {
        self.0.route.get().map(MatchedPath::as_str)
    }

    /// Whose account it counted against.
    pub fn account(&self) -> Option<AccountId> {
        self.0.account.get().copied()
    }
}

/// Notes which route took the request.
pub(super) fn note_route(request: &Request) {
    let notes = request.extensions();
    if let (Some(trail), Some(route)) = (notes.get::<Trail>(), notes.get::<MatchedPath>()) {
        trail.0.route.get_or_init(|| route.clone());
    }
}

/// Notes whose account it counts against.
pub(super) fn note_account(notes: &Extensions, account: AccountId) {
    if let Some(trail) = notes.get::<Trail>() {
        trail.0.account.get_or_init(|| account);
    }
}
