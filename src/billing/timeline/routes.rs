//! The timeline over HTTP.

use super::{model::Explained, rules, store};
use crate::{
    state::AppState,
    web::{
        caller::Viewer,
        envelope::Answer,
        page::{Page, PageRequest},
        problem::Outcome,
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What everybody of an account may see, whatever its state.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Every period ever, newest first, and why it begins and ends when it does: which payment, which invoice, which rule.
#[utoipa::path(get, path = "/account/subscription/explain", tag = "account", params(PageRequest), responses((status = 200, body = Page<Explained>)), security(("bearer" = [])))]
async fn explain(State(state): State<AppState>, Viewer(member): Viewer, page: PageRequest) -> Outcome<Answer> {
    let (stretches, count) = store::list_stretches(&state.pool, member.account.id, page.page_size, page.offset()).await?;
    let explained = stretches.into_iter().map(rules::explain).collect::<Vec<_>>();
    Ok(Answer::list(page.page(explained, count)))
}
