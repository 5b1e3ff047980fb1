//! The doors by name, written into the document where routes are put behind them: so that document, list of routes and
//! the table of callers speak of the very doors that the pipeline sets.

use crate::{state::AppState, throttle::model::Scope};
use axum::http::Method;
use utoipa::openapi::{OpenApi, PathItem, extensions::Extensions, path::Operation};
use utoipa_axum::router::OpenApiRouter;

/// Where an operation's door stands in the document.
pub const DOOR: &str = "x-door";
/// Where the name of its limit stands; absent: not throttled.
pub const THROTTLE_SCOPE: &str = "x-throttle-scope";

crate::words! {
    /// What a request must show before its handler is asked.
    pub enum Door {
        /// Nothing.
        Open = "open",
        /// A token, whatever the account's state.
        SignedIn = "signed_in",
        /// A token or key of an account that may act.
        Tenant = "tenant",
    }
}

/// Notes the door and the limit at every operation of these routes. `scope` tells the limit of a method.
pub fn mark(mut routes: OpenApiRouter<AppState>, door: Door, scope: impl Fn(&Method) -> Scope) -> OpenApiRouter<AppState> {
    for (_, method, operation) in operations_mut(routes.get_openapi_mut()) {
        let notes = [(DOOR, door.as_str()), (THROTTLE_SCOPE, scope(&method).as_str())];
        operation.extensions.get_or_insert_default().merge(Extensions::from_iter(notes));
    }
    routes
}

/// The door of an operation; none was set where there is no note.
pub fn door_of(operation: &Operation) -> Door {
    note(operation, DOOR).and_then(|word| word.parse().ok()).unwrap_or(Door::Open)
}

/// The name of an operation's limit.
pub fn note<'a>(operation: &'a Operation, name: &str) -> Option<&'a str> {
    operation.extensions.as_ref()?.get(name)?.as_str()
}

/// Every operation with its path and method, in the document's order.
pub fn operations(document: &OpenApi) -> impl Iterator<Item = (&str, Method, &Operation)> {
    document.paths.paths.iter().flat_map(|(path, item)| {
        let PathItem { get, put, post, delete, patch, .. } = item;
        let slots = [(Method::GET, get), (Method::POST, post), (Method::PUT, put), (Method::PATCH, patch), (Method::DELETE, delete)];
        slots.into_iter().filter_map(|(method, slot)| Some((path.as_str(), method, slot.as_ref()?)))
    })
}

/// The same, to be changed.
pub fn operations_mut(document: &mut OpenApi) -> impl Iterator<Item = (&str, Method, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        let PathItem { get, put, post, delete, patch, .. } = item;
        let slots = [(Method::GET, get), (Method::POST, post), (Method::PUT, put), (Method::PATCH, patch), (Method::DELETE, delete)];
        slots.into_iter().filter_map(|(method, slot)| Some((path.as_str(), method, slot.as_mut()?)))
    })
}
