//! What the OpenAPI document says besides the routes.

use utoipa::openapi::{Info, OpenApi};

/// STUB.
pub fn base() -> OpenApi {
    OpenApi::new(Info::new("IGNY8", "1"), utoipa::openapi::Paths::new())
}

/// STUB.
pub fn finish(document: OpenApi) -> OpenApi {
    document
}
