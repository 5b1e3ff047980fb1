//! HTTP of the sectors that a site covers.

use super::{
    model::{DeletedSector, NewSector, SiteSector},
    service, store,
};
use crate::{
    ids::{SiteId, SiteSectorId},
    sites::{self, industries::model::Named, routes::author, rules},
    state::AppState,
    web::{
        caller::{Editor, Now, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Seeing them, whatever the account's state.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_sectors))
}

/// Adding them and taking them away, only while the account may act.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(add_sector)).routes(routes!(delete_sector))
}

/// The sectors that a site covers.
#[utoipa::path(get, path = "/auth/sites/{id}/sectors", tag = "sites", params(("id" = SiteId, Path), PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<SiteSector>, description = "Sectors, oldest first"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "plan_inactive (site keys)"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_sectors(
    State(state): State<AppState>,
    Editor(member): Editor,
    Path(id): Path<SiteId>,
    request: PageRequest,
) -> Outcome<Answer> {
    let (account, sight) = (member.account.id, rules::sight_of(member.role, member.user));
    sites::store::find_site(&state.pool, account, sight, id).await?.ok_or_else(Problem::not_found)?;
    let (sectors, count) = store::list_sectors(&state.pool, account, id, request.page_size, request.offset()).await?;
    Ok(Answer::list(request.page(sectors, count)))
}

crate::request_body! { Refused:
    /// A sector to be added: one of the site's industry, or a name of your own.
    pub struct SectorBody {
        /// Number or slug of a sector of the site's industry; see auth/industries/.
        sector: Option<Named>,
        /// A name of your own instead.
        name: Option<Text<120>>,
    }
}

/// Adds a sector to a site.
#[utoipa::path(post, path = "/auth/sites/{id}/sectors", tag = "sites", params(("id" = SiteId, Path)), request_body = SectorBody, security(("bearer" = [])), responses(
    (status = 201, body = Envelope<SiteSector>),
    (status = 400, body = ErrorBody, description = "invalid_input (also: no sector of the site's industry, or there already), malformed_json"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 422, body = ErrorBody, description = "sector_limit_reached, with limit and used"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn add_sector(
    State(state): State<AppState>,
    Editor(member): Editor,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
    Body(body): Body<SectorBody>,
) -> Outcome<Answer> {
    let new = match (body.sector, body.name) {
        (Some(sector), None) => NewSector::OfIndustry(sector),
        (None, Some(name)) => NewSector::Own(name.0),
        (None, None) | (Some(_), Some(_)) => return Err(Problem::invalid_field("non_field_errors", "Give either sector or name.")),
    };
    Ok(Answer::created(service::add(&state.pool, &author(&member, &origin), id, &new, now).await?))
}

/// Takes a sector away from a site, for good.
#[utoipa::path(delete, path = "/auth/sites/{id}/sectors/{sector_id}", tag = "sites", params(("id" = SiteId, Path), ("sector_id" = SiteSectorId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<DeletedSector>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn delete_sector(
    State(state): State<AppState>,
    Editor(member): Editor,
    Source(origin): Source,
    Now(now): Now,
    Path((id, sector)): Path<(SiteId, SiteSectorId)>,
) -> Outcome<Answer> {
    Ok(Answer::ok(service::delete(&state.pool, &author(&member, &origin), id, sector, now).await?))
}
