//! Extensions over HTTP.

use super::{
    model::TrialExtension,
    rules::EXTENSION_DAYS_MAX,
    service::{self, Extension},
};
use crate::{
    billing::{model::Run, routes::answered},
    idempotency::model::Keyed,
    ids::AccountId,
    period::days,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        field::Whole,
        idempotency::IdempotencyKey,
        problem::{ErrorBody, Outcome},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What billing admins do about trials.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(extend))
}

request_body! { Refused:
    /// More time to try.
    pub struct TrialExtensionBody {
        /// How many days more.
        days: Whole<1, { EXTENSION_DAYS_MAX }>,
        /// Why; goes into the log.
        reason: Text<1000>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Gives a running trial a later end. Credits stay as they are.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/trial-extension", tag = "billing administration", request_body = TrialExtensionBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<TrialExtension>), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "not_on_trial, idempotency_key_reused"), (status = 422, body = ErrorBody, description = "trial_too_long with days_left")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn extend(
    State(state): State<AppState>,
    _: Operator,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<TrialExtensionBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "extend-trial", format_args!("{id} {body:?}"));
    let more = u16::try_from(body.days.0).unwrap_or(0);
    let by = Extension { days: more, reason: &body.reason.0, run: Run::of(body.dry_run) };
    let grace = days(state.config.grace_days);
    let (extended, replayed) = service::extend(&state.pool, AccountId(id), by, key.as_ref(), (grace, &origin), now).await?;
    Ok(answered(extended, replayed, &headers))
}
