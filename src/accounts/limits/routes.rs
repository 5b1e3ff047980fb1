//! An account's own limits, over HTTP.

use super::{
    model::{AccountLimits, OwnFactor},
    service,
};
use crate::{
    ids::AccountId,
    request_body,
    state::AppState,
    web::{
        caller::{Developer, Now, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        field::{Instant, Whole},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What developers may do with an account's limits.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(change))
}

request_body! { Refused:
    /// Limits of an account's own.
    pub struct LimitsBody {
        /// Times each scope's requests a minute, instead of the plan's factor; left out: the plan's again.
        #[schema(value_type = Option<i32>, minimum = 1, maximum = 1000)]
        factor: Option<Whole<1, 1_000>>,
        /// Until when; left out: until it is changed.
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Instant>,
        /// Why; stands in the audit log.
        reason: Text<500>,
    }
}

impl LimitsBody {
    fn to_own(&self, now: Now) -> Outcome<OwnFactor> {
        let own = OwnFactor { factor: self.factor.map(|factor| factor.0), until: self.until.map(|until| until.0) };
        let mut problem = Problem::invalid();
        if own.until.is_some() && own.factor.is_none() {
            problem.field("until", "Leave this out: the plan's factor has no end.");
        }
        if own.until.is_some_and(|until| until <= now.0) {
            problem.field("until", "Give an instant that is still to come.");
        }
        problem.or(own)
    }
}

/// Lets an account be faster or slower than its plan says, from its next request on.
#[utoipa::path(patch, path = "/billing/admin/accounts/{id}/throttle", tag = "billing administration", request_body = LimitsBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<AccountLimits>), (status = 404, body = ErrorBody, description = "not_found: no such account")), security(("bearer" = [])))]
async fn change(
    State(state): State<AppState>,
    _: Developer,
    Source(origin): Source,
    now: Now,
    Path(id): Path<i64>,
    Body(body): Body<LimitsBody>,
) -> Outcome<Answer> {
    let own = body.to_own(now)?;
    Ok(Answer::ok(service::change(&state.pool, AccountId(id), (own, &body.reason.0), &origin, now.0).await?))
}
