//! Reversals over HTTP.

use super::{model::Reversal, service};
use crate::{
    billing::{
        confirmation::Confirmer,
        model::{ExternalPaymentId, Run},
        routes::{answered, home, terms},
    },
    idempotency::model::Keyed,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        idempotency::IdempotencyKey,
        problem::{ErrorBody, Outcome},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What billing admins take back.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reverse))
}

request_body! { Refused:
    /// Why a transfer is taken back.
    pub struct ReverseBody {
        /// Goes into the log.
        reason: Text<1000>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Takes a confirmed transfer back, by the bank's reference: its time ends, its unspent credits go, its invoice is open again.
/// What was spent is told. Nothing is deleted, and the transfer can't be confirmed again.
#[utoipa::path(post, path = "/billing/admin/transfers/{external_payment_id}/reverse", tag = "billing administration", request_body = ReverseBody, params(("external_payment_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Reversal>), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "later_transfer, money_used, idempotency_key_reused")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn reverse(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    headers: HeaderMap,
    Path(ExternalPaymentId(reference)): Path<ExternalPaymentId>,
    Body(body): Body<ReverseBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "reverse-transfer", format_args!("{reference} {body:?}"));
    let by = Confirmer::of(operator.0.user.id, home(&operator), origin, key);
    let wish = (reference.as_str(), body.reason.0.as_str(), Run::of(body.dry_run));
    let (reversed, replayed) = service::reverse(&state.pool, wish, &by, terms(&state), now).await?;
    Ok(answered(reversed, replayed, &headers))
}
