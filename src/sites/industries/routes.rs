//! HTTP of the industries: the catalogue, for anybody.

use super::{model::Industry, store};
use crate::{
    state::AppState,
    web::{
        envelope::Answer,
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What sites can be about, for anybody.
pub fn catalogue() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_industries))
}

/// The industries, with their sectors.
#[utoipa::path(get, path = "/auth/industries", tag = "sites", params(PageRequest), responses(
    (status = 200, body = Page<Industry>, description = "All industries, each with all of its sectors"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_industries(State(state): State<AppState>, request: PageRequest) -> Outcome<Answer> {
    let (industries, count) = store::list_industries(&state.pool, request.page_size, request.offset()).await?;
    Ok(Answer::list(request.page(industries, count)))
}
