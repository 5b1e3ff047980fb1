//! Explanations over HTTP.

use super::{model::Explanation, rules::PERIODS_DEFAULT, service};
use crate::{
    request_body,
    state::AppState,
    web::{
        caller::{Now, Viewer},
        envelope::{Answer, Envelope},
        extract::Query,
        field::Whole,
        problem::Outcome,
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(explain))
}

request_body! { Ignored:
    /// Which periods to explain.
    pub struct ExplainFilter {
        /// How many, from 1 to 12; left out: 3.
        #[param(required = false, value_type = Option<i32>, minimum = 1, maximum = 12)]
        periods: Option<Whole<1, 12>>,
        /// Only periods before this one: `next_before_period` of another answer.
        #[param(required = false, value_type = Option<i32>, minimum = 1)]
        before_period: Option<Whole<1, { i32::MAX }>>,
    }
}

/// How today's balance came about: each grant and what it paid for, each reset and why.
#[utoipa::path(get, path = "/billing/credits/explain", tag = "credits", params(ExplainFilter), responses((status = 200, body = Envelope<Explanation>)), security(("bearer" = [])))]
async fn explain(
    State(state): State<AppState>,
    Viewer(member): Viewer,
    Now(now): Now,
    Query(filter): Query<ExplainFilter>,
) -> Outcome<Answer> {
    let periods = filter.periods.and_then(|periods| usize::try_from(periods.0).ok()).unwrap_or(PERIODS_DEFAULT);
    let before_period = filter.before_period.map(|period| period.0);
    let pool = state.reads.pool().await;
    Ok(Answer::ok(service::explain(pool, member.account.id, before_period, periods, now).await?))
}
