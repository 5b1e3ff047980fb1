//! HTTP of the plans: the catalogue for anybody, administration for developers.

use super::{
    model::{Features, Plan, PlanEdit, PlanRecord},
    service::{self, EditOrder},
    store,
};
use crate::{
    ids::Slug,
    money::Money,
    state::AppState,
    web::{
        caller::{Developer, Now, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Fields, FromFields, Path, Text, UnknownFields},
        field::{Change, Whole},
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What can be bought, for anybody.
pub fn catalogue() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_plans)).routes(routes!(show_plan))
}

/// What a developer may change.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_records)).routes(routes!(list_versions)).routes(routes!(change_plan))
}

/// The active plans.
#[utoipa::path(get, path = "/auth/plans", tag = "plans", params(PageRequest), responses(
    (status = 200, body = Page<Plan>, description = "Active plans"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
))]
async fn list_plans(State(state): State<AppState>, request: PageRequest) -> Outcome<Answer> {
    let (plans, count) = store::list_active_plans(&state.pool, request.page_size, request.offset()).await?;
    Ok(Answer::list(request.page(plans, count)))
}

/// An active plan by its word.
#[utoipa::path(get, path = "/auth/plans/{slug}", tag = "plans", params(("slug" = Slug, Path, example = "starter")), responses(
    (status = 200, body = Envelope<Plan>),
    (status = 404, body = ErrorBody, description = "not_found: unknown or inactive"),
))]
async fn show_plan(State(state): State<AppState>, Path(slug): Path<Slug>) -> Outcome<Answer> {
    let plan = store::find_plan_by_slug(&state.pool, slug.as_str()).await?;
    plan.filter(|plan| plan.is_active).map(Answer::ok).ok_or_else(Problem::not_found)
}

/// All plans with everything that is known of them.
#[utoipa::path(get, path = "/billing/admin/plans", tag = "billing administration", params(PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<PlanRecord>, description = "All plans, inactive ones included"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 403, body = ErrorBody, description = "developer_required"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_records(State(state): State<AppState>, _: Developer, request: PageRequest) -> Outcome<Answer> {
    let (records, count) = store::list_plans(&state.pool, request.page_size, request.offset()).await?;
    Ok(Answer::list(request.page(records, count)))
}

/// A plan's versions, newest first. Customers who have an older one keep it.
#[utoipa::path(get, path = "/billing/admin/plans/{slug}/versions", tag = "billing administration", params(("slug" = Slug, Path, example = "starter"), PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<PlanRecord>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 403, body = ErrorBody, description = "developer_required"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_versions(State(state): State<AppState>, _: Developer, Path(slug): Path<Slug>, request: PageRequest) -> Outcome<Answer> {
    let (versions, count) = store::list_versions(&state.pool, slug.as_str(), request.page_size, request.offset()).await?;
    if count == 0 { Err(Problem::not_found()) } else { Ok(Answer::list(request.page(versions, count))) }
}

/// What to change of a plan; what is not sent stays. Unknown fields are refused: a typing error could cost money.
#[derive(Debug, ToSchema)]
pub struct PlanChange {
    /// Why, for the audit log.
    reason: Text<1000>,
    /// Another name.
    name: Option<Text<120>>,
    /// Another price in US dollars per cycle.
    price: Option<Money>,
    /// Other monthly credits; null: the older included figure serves.
    #[schema(value_type = Option<Whole<0, 1_000_000_000>>)]
    credits_per_month: Change<Option<Whole<0, 1_000_000_000>>>,
    /// Live sites at the most.
    max_sites: Option<Whole<0, 1_000_000>>,
    /// Seats at the most.
    max_users: Option<Whole<1, 1_000_000>>,
    /// Sectors per site at the most.
    max_sectors: Option<Whole<0, 1_000_000>>,
    /// All that it switches on.
    features: Option<Features>,
    /// Whether it admits anybody.
    is_active: Option<bool>,
}

impl FromFields for PlanChange {
    const UNKNOWN: UnknownFields = UnknownFields::Refused;

    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let reason = fields.take("reason");
        let name = fields.take("name");
        let price = fields.take("price");
        let credits_per_month = Change::take(fields, "credits_per_month");
        let max_sites = fields.take("max_sites");
        let max_users = fields.take("max_users");
        let max_sectors = fields.take("max_sectors");
        let features = fields.take("features");
        let is_active = fields.take("is_active");
        Some(PlanChange {
            reason: reason?,
            name: name?,
            price: price?,
            credits_per_month: credits_per_month?,
            max_sites: max_sites?,
            max_users: max_users?,
            max_sectors: max_sectors?,
            features: features?,
            is_active: is_active?,
        })
    }
}

impl From<PlanChange> for PlanEdit {
    fn from(body: PlanChange) -> Self {
        PlanEdit {
            name: body.name.map(|name| name.0),
            price: body.price,
            credits_per_month: body.credits_per_month.into_option().map(|credits| credits.map(|credits| i64::from(credits.0))),
            max_sites: body.max_sites.map(|limit| limit.0),
            max_users: body.max_users.map(|limit| limit.0),
            max_sectors: body.max_sectors.map(|limit| limit.0),
            features: body.features,
            is_active: body.is_active,
        }
    }
}

/// Changes a plan. Other terms are a new version: who has the plan keeps his.
#[utoipa::path(patch, path = "/billing/admin/plans/{slug}", tag = "billing administration", params(("slug" = Slug, Path, example = "starter")),
    request_body = PlanChange, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<PlanRecord>),
    (status = 400, body = ErrorBody, description = "invalid_input, malformed_json"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired …"),
    (status = 403, body = ErrorBody, description = "developer_required"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 422, body = ErrorBody, description = "plan_price_required, plan_price_refused"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn change_plan(
    State(state): State<AppState>,
    _: Developer,
    Source(origin): Source,
    Now(now): Now,
    Path(slug): Path<Slug>,
    Body(body): Body<PlanChange>,
) -> Outcome<Answer> {
    let reason = body.reason.0.clone();
    let order = EditOrder { slug: slug.as_str(), edit: body.into(), reason, origin: &origin };
    Ok(Answer::ok(service::change(&state.pool, &order, now).await?))
}
