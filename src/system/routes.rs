//! HTTP of this room.

use crate::state::AppState;
use utoipa_axum::router::OpenApiRouter;

/// STUB.
pub fn status() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}

/// STUB.
pub fn probes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}

/// STUB.
pub fn docs(_document: &utoipa::openapi::OpenApi) -> axum::Router<AppState> {
    axum::Router::new()
}
