//! Credits by staff's hand, over HTTP.

use super::{model::Moved, service};
use crate::{
    billing::{
        approvals::{self, model::Waiting},
        confirmation::Confirmer,
        model::Run,
        routes::{answered_created, terms, thresholds},
    },
    credits::{model::TransactionKind, refunds::service::Refund, service::StaffMove},
    idempotency::model::Keyed,
    ids::AccountId,
    money::Credits,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        field::Instant,
        idempotency::IdempotencyKey,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

crate::words! {
    /// What credits are given as.
    pub enum GiftKind {
        /// Given or taken by staff.
        Adjustment = "adjustment",
        /// Bought; only given.
        Purchase = "purchase",
    }
}

impl From<GiftKind> for TransactionKind {
    fn from(kind: GiftKind) -> Self {
        match kind {
            GiftKind::Adjustment => TransactionKind::Adjustment,
            GiftKind::Purchase => TransactionKind::Purchase,
        }
    }
}

/// What billing admins may do with an account's credits.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(adjust)).routes(routes!(refund))
}

request_body! { Refused:
    /// Extra credits, given or taken.
    pub struct AdjustBody {
        /// Positive: given, and kept over resets. Negative: taken.
        amount: i64,
        /// Why; stands on the statement.
        reason: Text<500>,
        /// What they are; left out: an adjustment.
        r#type: Option<GiftKind>,
        /// When what is left of them is gone; left out: never.
        #[schema(value_type = Option<String>, format = DateTime)]
        expires_at: Option<Instant>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

impl AdjustBody {
    fn to_move(&self, now: Now) -> Outcome<StaffMove<'_>> {
        let kind = self.r#type.unwrap_or(GiftKind::Adjustment);
        let expires_at = self.expires_at.map(|instant| instant.0);
        let mut problem = Problem::invalid();
        let amount = Credits::new(self.amount).unwrap_or(Credits::ZERO);
        if amount == Credits::ZERO {
            problem.field("amount", "Give a whole number other than 0.");
        }
        if amount < Credits::ZERO && kind == GiftKind::Purchase {
            problem.field("amount", "Give a whole number above 0: a purchase is not taken away, it is adjusted.");
        }
        if expires_at.is_some_and(|expires_at| expires_at <= now.0) {
            problem.field("expires_at", "Give an instant that is still to come.");
        }
        if expires_at.is_some() && amount < Credits::ZERO {
            problem.field("expires_at", "Leave this out: what is taken does not expire.");
        }
        problem.or(StaffMove { amount, kind: kind.into(), expires_at, reason: &self.reason.0 })
    }
}

/// Gives extra credits, which may expire, or takes credits away. Above the configured amount it waits for a second admin.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/credits", tag = "billing administration", request_body = AdjustBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Moved>), (status = 202, body = Envelope<Waiting>, description = "waits for a second admin"), (status = 422, body = ErrorBody, description = "credits_out_of_range, lot_limit_reached")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn adjust(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    now: Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<AdjustBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "adjust-credits", format_args!("{id} {body:?}"));
    let (wish, account) = ((&body.to_move(now)?, Run::of(body.dry_run)), AccountId(id));
    let by = Confirmer::of(operator.0.user.id, Some(account), origin, key);
    let limits = (terms(&state), thresholds(&state));
    let (moved, replayed) = approvals::service::adjust(&state.pool, account, wish, &by, limits, now.0).await?;
    Ok(answered_created(moved, replayed, &headers))
}

request_body! { Refused:
    /// A deduction to be given back.
    pub struct RefundBody {
        /// How much of it; left out: all that was not given back yet.
        #[schema(minimum = 1)]
        amount: Option<i64>,
        /// Why; stands on the statement.
        reason: Text<500>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Gives a deduction back, in whole or in part, to the pools that it came from.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/transactions/{seq}/refund", tag = "billing administration", request_body = RefundBody, params(("id" = i64, Path), ("seq" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Moved>), (status = 422, body = ErrorBody, description = "not_refundable, refund_too_large with refundable")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn refund(
    State(state): State<AppState>,
    operator: Operator,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    headers: HeaderMap,
    Path((id, deduction)): Path<(i64, i64)>,
    Body(body): Body<RefundBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "refund-credits", format_args!("{id} {deduction} {body:?}"));
    let amount = body.amount.map(Credits::positive).transpose();
    let amount = amount.map_err(|_| Problem::invalid_field("amount", "Give a whole number above 0."))?;
    let refund = Refund { deduction, amount, reason: &body.reason.0 };
    let by = Confirmer::of(operator.0.user.id, Some(AccountId(id)), origin, key);
    let (moved, replayed) = service::refund(&state.pool, AccountId(id), (&refund, Run::of(body.dry_run)), &by, now).await?;
    Ok(answered_created(moved, replayed, &headers))
}
