//! HTTP of this room.

use crate::state::AppState;
use utoipa_axum::router::OpenApiRouter;

/// STUB.
pub fn sign_in() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}

/// STUB.
pub fn me() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}
