//! HTTP of this room.

use crate::state::AppState;
use utoipa_axum::router::OpenApiRouter;

/// STUB.
pub fn catalogue() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}

/// STUB.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}
