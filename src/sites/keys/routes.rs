//! HTTP of the keys, and the bridge by which a plugin calls with one.

use super::{
    model::{KeyOrder, KeyScope, KeyVerification, NewSiteKey, RevokedKeys, SiteKeyView, SiteLimits, VerifiedAccount, VerifiedSite},
    service, store,
};
use crate::{
    ids::SiteId,
    money::Credits,
    sites::{self, model::Sight, routes::author},
    state::AppState,
    web::{
        caller::{Admin, Now, SiteKey, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path},
        field::Whole,
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Seeing which keys there are.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_keys))
}

/// Making and revoking keys.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create_key, revoke_keys))
}

/// What a plugin calls by its site's key.
pub fn bridge() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(verify_key))
}

/// A site's keys that work now, as far as they can be shown.
#[utoipa::path(get, path = "/auth/sites/{id}/api-key", tag = "sites", params(("id" = SiteId, Path), PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<SiteKeyView>, description = "Working keys, newest first"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "plan_inactive (site keys)"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_keys(
    State(state): State<AppState>,
    Admin(member): Admin,
    Now(now): Now,
    Path(id): Path<SiteId>,
    request: PageRequest,
) -> Outcome<Answer> {
    sites::store::find_site(&state.pool, member.account.id, Sight::All, id).await?.ok_or_else(Problem::not_found)?;
    let (keys, count) = store::list_keys(&state.pool, member.account.id, id, request.page_size, request.offset(), now).await?;
    Ok(Answer::list(request.page(keys, count)))
}

crate::request_body! { Refused:
    /// How a key is to be made.
    pub struct KeyBody {
        /// Minutes that the newest of the old keys lives on, at most a week; unset or 0: it stops at once. Those before it stop anyway.
        overlap_minutes: Option<Whole<0, 10_080>>,
        /// What the key opens; unset: everything.
        scopes: Option<Vec<KeyScope>>,
    }
}

impl KeyBody {
    fn order(self) -> Outcome<KeyOrder> {
        let mut scopes = self.scopes.unwrap_or_else(|| KeyScope::ALL.to_vec());
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Problem::invalid_field("scopes", "Name at least one, or leave it out for all of them."));
        }
        Ok(KeyOrder { scopes, overlap_minutes: self.overlap_minutes.map_or(0, |minutes| minutes.0) })
    }
}

/// Creates a site's key, or rotates it. The key is shown in this answer and never again.
#[utoipa::path(post, path = "/auth/sites/{id}/api-key", tag = "sites", params(("id" = SiteId, Path)), request_body = KeyBody, security(("bearer" = [])), responses(
    (status = 201, body = Envelope<NewSiteKey>),
    (status = 400, body = ErrorBody, description = "invalid_input, malformed_json"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn create_key(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
    Body(body): Body<KeyBody>,
) -> Outcome<Answer> {
    let key = service::create(&state.pool, &author(&member, &origin), id, &body.order()?, now).await?;
    Ok(Answer::created(key).message("Copy the key now; it is not shown again."))
}

/// Revokes all keys of a site at once.
#[utoipa::path(delete, path = "/auth/sites/{id}/api-key", tag = "sites", params(("id" = SiteId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<RevokedKeys>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, account_suspended, account_cancelled …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn revoke_keys(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<SiteId>,
) -> Outcome<Answer> {
    Ok(Answer::ok(service::revoke(&state.pool, &author(&member, &origin), id, now).await?))
}

/// What a plugin asks first: whether its key works, whose it is, and what it may use. Open to a key of any scope.
#[utoipa::path(get, path = "/integration/verify-key", tag = "integration", params(
    ("X-IGNY8-Home-URL" = Option<String>, Header, description = "The address that the plugin runs at; every route of a site key takes it"),
    ("home_url" = Option<String>, Query, description = "The same, for who can't send headers"),
), security(("site_key" = [])), responses(
    (status = 200, body = Envelope<KeyVerification>),
    (status = 400, body = ErrorBody, description = "invalid_input: the home address is none"),
    (status = 401, body = ErrorBody, description = "key_unknown, key_revoked, authentication_required …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "site_inactive, account_suspended, account_cancelled, site_key_required"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn verify_key(SiteKey(caller): SiteKey, Now(now): Now) -> Answer {
    // Everything was read when the key was: the answer costs no query of its own.
    let plan = caller.account.plan;
    let limits = SiteLimits {
        max_sites: plan.as_ref().map_or(0, |plan| plan.max_sites),
        max_sectors: plan.as_ref().map_or(0, |plan| plan.max_sectors),
        credits_per_month: plan.as_ref().map_or(Credits::ZERO, |plan| plan.credits_per_month),
    };
    let site = VerifiedSite { id: caller.site, name: caller.site_name, slug: caller.site_slug, url: caller.site_url };
    let (credits, scopes, url_conflict) = (caller.account.credits, caller.scopes, caller.other_home);
    let account = VerifiedAccount { status: caller.account.status, plan };
    Answer::ok(KeyVerification { valid: true, site, account, credits, limits, scopes, url_conflict, server_time: now })
}
