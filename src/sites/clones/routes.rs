//! HTTP of the decision about another address.

use super::{
    model::{Decision, Resolution},
    service,
};
use crate::{
    ids::SiteId,
    sites::{
        model::{HomeUrl, Site},
        routes::author,
    },
    state::AppState,
    web::{
        caller::{Admin, Now, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path},
        problem::{ErrorBody, Outcome},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Deciding, only while the account may act.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(resolve_url_conflict))
}

crate::request_body! { Refused:
    /// What another address is that the site's key was used from.
    pub struct UrlConflictBody {
        /// `move`: the site's new home; `ignore`: a clone, which stays read-only without further notice.
        action: Resolution,
        /// Which address; unset: the one that the site shows in `url_conflict`.
        url: Option<HomeUrl>,
    }
}

/// Says what another address is that the site's key was used from: its new home, or a clone.
#[utoipa::path(post, path = "/auth/sites/{id}/url-conflict", tag = "sites", params(("id" = SiteId, Path)), request_body = UrlConflictBody, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Site>),
    (status = 400, body = ErrorBody, description = "invalid_input, malformed_json"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 409, body = ErrorBody, description = "no_url_conflict"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn resolve_url_conflict(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
    Body(body): Body<UrlConflictBody>,
) -> Outcome<Answer> {
    let decision = Decision { action: body.action, url: body.url.unwrap_or_default() };
    Ok(Answer::ok(service::resolve(&state.pool, &author(&member, &origin), id, &decision, now).await?))
}
