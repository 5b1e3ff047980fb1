//! HTTP of who sees a site.

use super::service;
use crate::{
    auth::members::model::TeamMember,
    ids::SiteId,
    sites::routes::author,
    state::AppState,
    web::{
        caller::{Admin, Now, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// People named at once, at the most.
const USERS_MAX: usize = 1_000;

/// Seeing it, whatever the account's state.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_access))
}

/// Changing it, only while the account may act.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(replace_access))
}

/// Who sees a site because it was given to them; owners and admins see it anyway and are not among them.
#[derive(Debug, Serialize, ToSchema)]
pub struct SiteAccess {
    /// They.
    pub users: Vec<TeamMember>,
}

crate::request_body! { Refused:
    /// Who is to see a site.
    pub struct SiteAccessBody {
        /// Editors and viewers of the account, all of them; who is missing sees it no more.
        user_ids: Vec<i64>,
    }
}

/// Which editors and viewers see the site.
#[utoipa::path(get, path = "/auth/sites/{id}/access", tag = "sites", params(("id" = SiteId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<SiteAccess>),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
))]
async fn show_access(State(state): State<AppState>, Admin(member): Admin, Path(id): Path<SiteId>) -> Outcome<Answer> {
    Ok(Answer::ok(SiteAccess { users: service::list(&state.pool, member.account.id, id).await? }))
}

/// Names the editors and viewers who see the site.
#[utoipa::path(put, path = "/auth/sites/{id}/access", tag = "sites", params(("id" = SiteId, Path)), request_body = SiteAccessBody, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<SiteAccess>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when one of them is no editor or viewer of the account"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
))]
async fn replace_access(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
    Body(body): Body<SiteAccessBody>,
) -> Outcome<Answer> {
    if body.user_ids.len() > USERS_MAX {
        return Err(Problem::invalid_field("user_ids", format!("Name at most {USERS_MAX}.")));
    }
    let users = service::replace(&state.pool, &author(&member, &origin), id, &body.user_ids, now).await?;
    Ok(Answer::ok(SiteAccess { users }))
}
