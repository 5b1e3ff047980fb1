//! HTTP of this room.

use crate::state::AppState;
use utoipa_axum::router::OpenApiRouter;

/// STUB.
pub fn tokens() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}

/// STUB.
pub fn sessions() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}
