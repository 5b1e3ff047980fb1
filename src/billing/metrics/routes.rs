//! Figures over HTTP.

use super::{
    chart,
    model::Metrics,
    rules::{self, MONTHS_MAX},
    store,
};
use crate::{
    clock::Timestamp,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator},
        envelope::{Answer, Envelope},
        extract::Query,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Months where none are asked for.
const MONTHS: u32 = 12;

/// What the owner of the business sees.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics)).routes(routes!(chart))
}

request_body! { Refused:
    /// How far back.
    pub struct MonthsQuery {
        /// This month and those before it, 1 to 60; left out: 12.
        #[param(inline, minimum = 1, maximum = 60)]
        months: Option<u32>,
    }
}

/// How the business does by month, the oldest first: MRR, ARPA, who came and went, cash in, and what became of trials by the month
/// of signup; and what is overdue now. Months are UTC, and the last one is not over.
#[utoipa::path(get, path = "/billing/admin/metrics", tag = "billing administration", params(MonthsQuery), responses((status = 200, body = Envelope<Metrics>), (status = 400, body = ErrorBody)), security(("bearer" = [])))]
async fn metrics(State(state): State<AppState>, _: Operator, Now(now): Now, Query(query): Query<MonthsQuery>) -> Outcome<Answer> {
    Ok(Answer::ok(told(&state, &query, now).await?))
}

/// The same as a picture: MRR as a line, cash in as bars.
#[utoipa::path(get, path = "/billing/admin/metrics/chart.svg", tag = "billing administration", params(MonthsQuery), responses((status = 200, body = String, content_type = "image/svg+xml"), (status = 400, body = ErrorBody)), security(("bearer" = [])))]
async fn chart(State(state): State<AppState>, _: Operator, Now(now): Now, Query(query): Query<MonthsQuery>) -> Outcome<Answer> {
    let metrics = told(&state, &query, now).await?;
    Ok(Answer::picture("image/svg+xml", chart::rules::draw(&metrics).into_bytes()))
}

async fn told(state: &AppState, query: &MonthsQuery, now: Timestamp) -> Outcome<Metrics> {
    let count = query.months.unwrap_or(MONTHS);
    if !(1..=MONTHS_MAX).contains(&count) {
        return Err(Problem::invalid_field("months", format!("Give a number of months from 1 to {MONTHS_MAX}.")));
    }
    let with_one_before = rules::spans(count + 1, now);
    let spans = with_one_before.get(1..).unwrap_or_default();
    let instants = with_one_before.iter().map(|span| span.as_of).collect::<Vec<_>>();
    let pool = state.reads.pool().await;
    let paying = store::list_paying(pool, &instants).await?;
    let (cash_in, cohorts) = (store::list_cash(pool, spans).await?, store::list_cohorts(pool, spans).await?);
    Ok(rules::metrics(spans, &paying, &cash_in, cohorts, store::find_overdue(pool, now).await?, now))
}
