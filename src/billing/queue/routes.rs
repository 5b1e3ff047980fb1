//! The admins' queue over HTTP.

use super::{
    model::{QueueFilter, QueuedPayment, RejectedPayment},
    service::{self, Judgement},
    store,
};
use crate::{
    billing::{
        approvals::{self, model::Waiting},
        confirmation::{Confirmer, Order},
        model::{Confirmation, OtherAmount, PaymentStatus, Run},
        routes::{ReasonBody, answered, home, other_amount, terms},
        rules,
    },
    idempotency::model::Keyed,
    ids::PaymentId,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Query, Text},
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page},
        problem::{ErrorBody, Outcome},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What billing admins do about reports.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(payments)).routes(routes!(approve)).routes(routes!(reject))
}

request_body! { Ignored:
    /// Which payments of all accounts.
    pub struct QueueQuery {
        /// Only of this status; `pending_approval` is the queue.
        #[param(inline)]
        status: Option<PaymentStatus>,
        /// Only with this reference: the bank's, or ours as the customer typed it.
        #[param(inline)]
        reference: Option<Text<128>>,
    }
}

/// Payments of all accounts, oldest first.
#[utoipa::path(get, path = "/billing/admin/payments", tag = "billing administration", params(QueueQuery, CursorRequest), responses((status = 200, body = Page<QueuedPayment>)), security(("bearer" = [])))]
async fn payments(State(state): State<AppState>, _: Operator, Query(query): Query<QueueQuery>, page: CursorRequest) -> Outcome<Answer> {
    let reference = query.reference.map(|reference| reference.0);
    let invoice_reference = reference.as_deref().and_then(rules::read_reference);
    let filter = QueueFilter { status: query.status, reference, invoice_reference };
    let pool = state.reads.pool().await;
    // The list runs the other way round than most: what follows a row is newer, what precedes it older.
    let rows = match page.newer_than() {
        Some(before) => store::list_queued_before(pool, &filter, before, page.limit()).await?,
        None => store::list_queued_after(pool, &filter, page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(store::count_queued(pool, &filter).await?) } else { None };
    Ok(Answer::list(page.page(rows, |row| row.payment.id.0, count)))
}

request_body! { Refused:
    /// How a report is approved. All may be left out.
    pub struct ApproveBody {
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
        /// True: another amount than what is outstanding counts towards the invoice, which stays open until all has come.
        partial: Option<bool>,
        /// True: another amount than what is outstanding is taken for the whole; needs a reason.
        accept_amount_mismatch: Option<bool>,
        /// Why.
        reason: Option<Text<1000>>,
    }
}

impl ApproveBody {
    fn read(self) -> Outcome<(OtherAmount, Run)> {
        let other = other_amount(self.partial, self.accept_amount_mismatch, self.reason.map(|reason| reason.0))?;
        Ok((other, Run::of(self.dry_run)))
    }
}

/// The reported money came: confirms it as `confirm-bank-transfer` does, with what the customer reported.
#[utoipa::path(post, path = "/billing/admin/payments/{id}/approve", tag = "billing administration", request_body = ApproveBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Confirmation>), (status = 202, body = Envelope<Waiting>, description = "waits for a second admin"), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "payment_not_pending, transfer_conflict, idempotency_key_reused"), (status = 422, body = ErrorBody, description = "amount_mismatch, currency_mismatch, no_payable_plan, plan_not_payable")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn approve(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<ApproveBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "approve-payment", format_args!("{id} {body:?}"));
    let (other_amount, run) = body.read()?;
    let order = Order::Reported { payment: PaymentId(id), other_amount, run };
    let by = Confirmer::of(operator.0.user.id, home(&operator), origin, key);
    let (confirmed, replayed) = approvals::service::confirm(&state.pool, &order, &by, terms(&state), now).await?;
    Ok(answered(confirmed, replayed, &headers))
}

/// The reported money did not come. The customer is written to, with the reason.
#[utoipa::path(post, path = "/billing/admin/payments/{id}/reject", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<RejectedPayment>), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "payment_not_pending")), security(("bearer" = [])))]
async fn reject(
    State(state): State<AppState>,
    Operator(person): Operator,
    Source(origin): Source,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<ReasonBody>,
) -> Outcome<Answer> {
    let by = Judgement { by: person.user.id, reason: &body.reason.0, run: Run::of(body.dry_run) };
    let rejected = service::reject(&state.pool, PaymentId(id), by, state.desk().outbox(), &origin, now).await?;
    Ok(answered(rejected, false, &headers))
}
