//! Prices and quotes over HTTP.

use super::{
    model::{CostChange, Job, JobQuote, OperationCost, Quote},
    service::{self, NewPrice},
    store,
};
use crate::{
    credits::model::{Operation, Quantity},
    money::Credits,
    request_body,
    state::AppState,
    web::{
        caller::{Developer, Now, Source, Spender, Viewer},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        field::Instant,
        page::{Page, PageRequest},
        problem::{Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(costs))
}

/// What a developer may see and change.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(set_cost)).routes(routes!(cost_changes))
}

/// What only a working account may ask.
pub fn asking() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(check)).routes(routes!(quote))
}

/// What each operation costs, and what it will cost where that is known.
#[utoipa::path(get, path = "/billing/credits/costs", tag = "credits", responses((status = 200, body = Envelope<Vec<OperationCost>>)), security(("bearer" = [])))]
async fn costs(State(state): State<AppState>, _: Viewer, Now(now): Now) -> Outcome<Answer> {
    Ok(Answer::ok(store::list_prices(&state.pool).await?.listed(now)))
}

request_body! { Refused:
    /// A new price.
    pub struct CostBody {
        /// Credits per unit, from 0 to 1,000,000.
        cost: i64,
        /// From when on, not in the past; left out: from now on. Takes the place of another one that is still to come.
        #[schema(value_type = Option<String>, format = DateTime)]
        effective_from: Option<Instant>,
        /// Why.
        reason: Text<500>,
    }
}

/// Sets what an operation costs from now on, or from an instant to come. What was before keeps its price.
#[utoipa::path(patch, path = "/billing/admin/credit-costs/{operation}", tag = "billing administration", request_body = CostBody, params(("operation" = Operation, Path)), responses((status = 200, body = Envelope<OperationCost>)), security(("bearer" = [])))]
async fn set_cost(
    State(state): State<AppState>,
    _: Developer,
    Source(origin): Source,
    Now(now): Now,
    Path(operation): Path<String>,
    Body(body): Body<CostBody>,
) -> Outcome<Answer> {
    let operation: Operation = operation.parse().map_err(|_| Problem::not_found())?;
    let cost = Credits::new(body.cost).ok().filter(|cost| (0..=1_000_000).contains(&cost.get()));
    let cost = cost.ok_or_else(|| Problem::invalid_field("cost", "Give a whole number from 0 to 1,000,000."))?;
    let new = NewPrice { operation, cost, effective_from: body.effective_from.map(|from| from.0), reason: &body.reason.0 };
    Ok(Answer::ok(service::set_price(&state.pool, &new, &origin, now).await?))
}

/// Every price that was set, and those to come, the latest first.
#[utoipa::path(get, path = "/billing/admin/credit-costs", tag = "billing administration", params(PageRequest), responses((status = 200, body = Page<CostChange>)), security(("bearer" = [])))]
async fn cost_changes(State(state): State<AppState>, _: Developer, page: PageRequest) -> Outcome<Answer> {
    let pool = state.reads.pool().await;
    let rows = store::list_changes(pool, page.page_size, page.offset()).await?;
    let count = store::count_changes(pool).await?;
    Ok(Answer::list(page.page(rows, count)))
}

request_body! { Ignored:
    /// A job.
    pub struct CheckBody {
        /// What is to be done.
        operation: Operation,
        /// How many runs, ideas, words or images.
        quantity: Quantity,
    }
}

/// Whether a job could be paid for now. Writes nothing.
#[utoipa::path(post, path = "/billing/credits/check", tag = "credits", request_body = CheckBody, responses((status = 200, body = Envelope<Quote>)), security(("bearer" = []), ("site_key" = [])))]
async fn check(State(state): State<AppState>, spender: Spender, Now(now): Now, Body(body): Body<CheckBody>) -> Outcome<Answer> {
    Ok(Answer::ok(service::quote(&state.pool, spender.account.pools, body.operation, body.quantity, now).await?))
}

request_body! { Ignored:
    /// A job of several parts.
    pub struct QuoteBody {
        /// Its parts, 1 to 50, in the order in which they are to be done.
        items: Job,
    }
}

/// What a job of several parts would cost, and how much of it can be paid for now. Writes nothing.
#[utoipa::path(post, path = "/billing/credits/quote", tag = "credits", request_body = QuoteBody, responses((status = 200, body = Envelope<JobQuote>)), security(("bearer" = []), ("site_key" = [])))]
async fn quote(State(state): State<AppState>, spender: Spender, Now(now): Now, Body(body): Body<QuoteBody>) -> Outcome<Answer> {
    Ok(Answer::ok(service::quote_job(&state.pool, spender.account.pools, &body.items, now).await?))
}
