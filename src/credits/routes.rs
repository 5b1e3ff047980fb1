//! HTTP of this room.

use crate::state::AppState;
use utoipa_axum::router::OpenApiRouter;

/// STUB.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}

/// STUB.
pub fn spending() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}
