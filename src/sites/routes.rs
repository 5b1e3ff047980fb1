//! HTTP of the sites: seeing them and managing them; the bridge is the keys'.

use super::{
    access, clones, events,
    industries::model::Named,
    keys,
    model::{Author, DeletedSite, Draft, HomeUrl, Sight, Site, SiteEdit},
    rules, sectors, service, store,
};
use crate::{
    audit::model::Origin,
    ids::{AccountId, SiteId, Slug},
    state::AppState,
    web::{
        caller::{Admin, Editor, Member, Now, Reader, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Fields, FromFields, Path, Text, UnknownFields},
        field::Change,
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Seeing sites: for persons whatever their account's state, and for a site itself.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_sites))
        .routes(routes!(show_site))
        .merge(keys::routes::reading())
        .merge(access::routes::reading())
        .merge(sectors::routes::reading())
        .merge(events::routes::reading())
}

/// Managing sites and keys, only while the account may act.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_site))
        .routes(routes!(change_site, delete_site))
        .routes(routes!(restore_site))
        .merge(keys::routes::managing())
        .merge(access::routes::managing())
        .merge(sectors::routes::managing())
        .merge(clones::routes::managing())
}

/// What a plugin calls by its site's key.
pub fn bridge() -> OpenApiRouter<AppState> {
    keys::routes::bridge().merge(events::routes::bridge())
}

/// Who looks: a person by his role, or a site by a key that may read.
pub(super) struct Onlooker {
    /// In which account.
    pub account: AccountId,
    /// At which of its sites.
    pub sight: Sight,
    /// The sites that the account's plan has room for.
    pub max_sites: Option<i32>,
}

impl FromRequestParts<AppState> for Onlooker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let reader = Reader::from_request_parts(parts, state).await?;
        let sight = match &reader {
            Reader::Site(site) => Sight::Only(site.site),
            Reader::Member(member) => rules::sight_of(member.role, member.user),
        };
        let account = reader.account();
        Ok(Onlooker { account: account.id, sight, max_sites: account.plan.as_ref().map(|plan| plan.max_sites) })
    }
}

/// Who changes sites, as services take it.
pub(super) fn author<'a>(member: &Member, origin: &'a Origin) -> Author<'a> {
    let max_sites = member.account.plan.as_ref().map(|plan| plan.max_sites);
    Author { account: member.account.id, user: member.user, sight: rules::sight_of(member.role, member.user), max_sites, origin }
}

/// The sites that the caller sees: all for owner and admin, those granted to an editor or viewer, its own for a site key.
#[utoipa::path(get, path = "/auth/sites", tag = "sites", params(PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<Site>, description = "Living sites, oldest first"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired, key_unknown, key_revoked …"),
    (status = 402, body = ErrorBody, description = "plan_inactive (site keys)"),
    (status = 403, body = ErrorBody, description = "no_account, site_inactive, account_suspended, account_cancelled"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_sites(State(state): State<AppState>, onlooker: Onlooker, request: PageRequest) -> Outcome<Answer> {
    let (sites, count) = store::list_sites(&state.pool, onlooker.account, onlooker.sight, request.page_size, request.offset()).await?;
    let sites = sites.into_iter().map(|site| service::judged(site, onlooker.max_sites)).collect();
    Ok(Answer::list(request.page(sites, count)))
}

/// A site that the caller sees.
#[utoipa::path(get, path = "/auth/sites/{id}", tag = "sites", params(("id" = SiteId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Site>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired, key_unknown, key_revoked …"),
    (status = 402, body = ErrorBody, description = "plan_inactive (site keys)"),
    (status = 403, body = ErrorBody, description = "no_account, site_inactive, account_suspended, account_cancelled"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn show_site(State(state): State<AppState>, onlooker: Onlooker, Path(id): Path<SiteId>) -> Outcome<Answer> {
    let site = store::find_site(&state.pool, onlooker.account, onlooker.sight, id).await?;
    site.map(|site| Answer::ok(service::judged(site, onlooker.max_sites))).ok_or_else(Problem::not_found)
}

crate::request_body! { Ignored:
    /// A site to be created.
    pub struct NewSite {
        /// Its name.
        name: Text<120>,
        /// Its word; unset: made from the name.
        slug: Option<Slug>,
        /// Its home address; null: it has none yet.
        url: Option<HomeUrl>,
        /// What it is about, by number or slug; see auth/industries/.
        industry: Option<Named>,
    }
}

/// Creates a site. An editor is given access to what he creates.
#[utoipa::path(post, path = "/auth/sites", tag = "sites", request_body = NewSite, security(("bearer" = [])), responses(
    (status = 201, body = Envelope<Site>),
    (status = 400, body = ErrorBody, description = "invalid_input (also: the slug given is taken), malformed_json"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 422, body = ErrorBody, description = "site_limit_reached, with limit and used"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn create_site(
    State(state): State<AppState>,
    Editor(member): Editor,
    Source(origin): Source,
    Now(now): Now,
    Body(body): Body<NewSite>,
) -> Outcome<Answer> {
    let draft = Draft { name: body.name.0, slug: body.slug, url: body.url.unwrap_or_default(), industry: body.industry };
    Ok(Answer::created(service::create(&state.pool, &author(&member, &origin), &draft, now).await?))
}

/// What to change of a site; what is not sent stays.
#[derive(Debug, ToSchema)]
pub struct SiteChange {
    /// Another name.
    name: Option<Text<120>>,
    /// Another home address; null: none.
    #[schema(value_type = Option<HomeUrl>)]
    url: Change<HomeUrl>,
    /// Whether its key opens anything.
    is_active: Option<bool>,
    /// What it is about, by number or slug; null: nothing in particular. Another one makes own names of its sectors.
    #[schema(value_type = Option<Named>)]
    industry: Change<Option<Named>>,
}

impl FromFields for SiteChange {
    const UNKNOWN: UnknownFields = UnknownFields::Ignored;

    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.take("name");
        let url = Change::take(fields, "url");
        let is_active = fields.take("is_active");
        let industry = Change::take(fields, "industry");
        Some(SiteChange { name: name?, url: url?, is_active: is_active?, industry: industry? })
    }
}

/// Changes a site that the caller sees.
#[utoipa::path(patch, path = "/auth/sites/{id}", tag = "sites", params(("id" = SiteId, Path)), request_body = SiteChange, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Site>),
    (status = 400, body = ErrorBody, description = "invalid_input, malformed_json"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn change_site(
    State(state): State<AppState>,
    Editor(member): Editor,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
    Body(body): Body<SiteChange>,
) -> Outcome<Answer> {
    let (name, url, industry) = (body.name.map(|name| name.0), body.url.into_option(), body.industry.into_option());
    let edit = SiteEdit { name, url, is_active: body.is_active, industry };
    Ok(Answer::ok(service::change(&state.pool, &author(&member, &origin), id, &edit, now).await?))
}

/// Deletes a site; it can be restored until the time told.
#[utoipa::path(delete, path = "/auth/sites/{id}", tag = "sites", params(("id" = SiteId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<DeletedSite>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn delete_site(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
) -> Outcome<Answer> {
    let deleted = service::delete(&state.pool, &author(&member, &origin), id, now).await?;
    Ok(Answer::ok(deleted).message("The site is deleted; it can be restored until then."))
}

/// Brings a deleted site back. Its keys stay revoked: create a new one.
#[utoipa::path(post, path = "/auth/sites/{id}/restore", tag = "sites", params(("id" = SiteId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Site>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found: unknown, not deleted, or too late"),
    (status = 409, body = ErrorBody, description = "slug_taken"),
    (status = 422, body = ErrorBody, description = "site_limit_reached, with limit and used"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn restore_site(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
) -> Outcome<Answer> {
    Ok(Answer::ok(service::restore(&state.pool, &author(&member, &origin), id, now).await?))
}
