//! Orders that wait, over HTTP.

use super::{
    model::{Approval, ApprovalStatus, Approved},
    rules::Judge,
    service, store,
};
use crate::{
    auth::model::Role,
    billing::{
        confirmation::Confirmer,
        model::Run,
        routes::{ReasonBody, answered, home, terms},
    },
    idempotency::model::Keyed,
    ids::ApprovalId,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Query},
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page},
        problem::{ErrorBody, Outcome},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What billing admins do about each other's orders.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(approvals)).routes(routes!(approve)).routes(routes!(reject))
}

request_body! { Ignored:
    /// Which orders.
    pub struct ApprovalsQuery {
        /// Only those that stand so now; `pending` is what waits.
        #[param(inline)]
        status: Option<ApprovalStatus>,
    }
}

/// Orders that wait or waited for a second admin, newest first.
#[utoipa::path(get, path = "/billing/admin/approvals", tag = "billing administration", params(ApprovalsQuery, CursorRequest), responses((status = 200, body = Page<Approval>)), security(("bearer" = [])))]
async fn approvals(
    State(state): State<AppState>,
    _: Operator,
    Now(now): Now,
    Query(query): Query<ApprovalsQuery>,
    page: CursorRequest,
) -> Outcome<Answer> {
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(&state.pool, query.status, newer_than, page.limit(), now).await?,
        None => store::list_older(&state.pool, query.status, page.older_than(), page.limit(), now).await?,
    };
    Ok(Answer::list(page.page(rows, |row| row.id.0, None)))
}

request_body! { Refused:
    /// How an order is approved. All may be left out.
    pub struct ApprovalBody {
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Carries out what another admin ordered.
#[utoipa::path(post, path = "/billing/admin/approvals/{id}/approve", tag = "billing administration", request_body = ApprovalBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Approved>), (status = 403, body = ErrorBody, description = "own_approval, developer_required"), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "approval_not_pending, and what the order itself answers")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn approve(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<ApprovalBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "approve-order", format_args!("{id} {body:?}"));
    let user = &operator.0.user;
    let judge = if user.role == Role::Developer { Judge::Developer(user.id) } else { Judge::Admin(user.id) };
    let by = Confirmer::of(user.id, home(&operator), origin, key);
    let order = (ApprovalId(id), Run::of(body.dry_run));
    let (approved, replayed) = service::approve(&state.pool, order, (judge, &by), terms(&state), now).await?;
    Ok(answered(approved, replayed, &headers))
}

/// Says no to an order; who asked for it takes it back so.
#[utoipa::path(post, path = "/billing/admin/approvals/{id}/reject", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<Approval>), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "approval_not_pending")), security(("bearer" = [])))]
async fn reject(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<ReasonBody>,
) -> Outcome<Answer> {
    let by = Confirmer::of(operator.0.user.id, None, origin, None);
    let why = (body.reason.0.as_str(), Run::of(body.dry_run));
    let rejected = service::reject(&state.pool, ApprovalId(id), why, &by, now).await?;
    Ok(answered(rejected, false, &headers))
}
