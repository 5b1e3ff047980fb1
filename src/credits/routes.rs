//! Credits over HTTP.

use super::{
    batch::rules::Wanted,
    model::{Balance, Metadata, Operation, OperationCost, Quantity, Quote, Spend, Transaction, TransactionKind},
    service::{self, CreditError, Spent},
    store::{self, Filter},
};
use crate::{
    clock::Timestamp,
    idempotency::model::Keyed,
    money::Credits,
    request_body,
    state::AppState,
    web::{
        caller::{Caller, Developer, Now, Source, Spender, Viewer},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Query, Text},
        field::Instant,
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page},
        payer::Payer,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(balance)).routes(routes!(transactions)).routes(routes!(costs))
}

/// What a developer may change.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(set_cost))
}

/// What only a working account may ask.
pub fn quoting() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(check))
}

/// What moves its credits.
pub fn spending() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(deduct))
}

/// What is there to spend, and when it is reset.
#[utoipa::path(get, path = "/billing/credits/balance", tag = "credits", responses((status = 200, body = Envelope<Balance>)), security(("bearer" = []), ("site_key" = [])))]
async fn balance(caller: Caller) -> Outcome<Answer> {
    let account = caller.account()?;
    let pools = account.pools;
    Ok(Answer::ok(Balance {
        credits: pools.total(),
        held: Credits::ZERO,
        available: pools.total(),
        plan_credits: pools.plan,
        extra_credits: pools.extra,
        credits_per_month: account.plan.as_ref().map_or(Credits::ZERO, |plan| plan.credits_per_month),
        resets_at: account.subscription.as_ref().map(|subscription| subscription.current_period_end),
    }))
}

request_body! { Ignored:
    /// Which entries to show.
    pub struct TransactionFilter {
        /// Only of this kind.
        #[param(required = false, rename = "type", value_type = Option<TransactionKind>)]
        r#type: Option<TransactionKind>,
        /// Only of this operation.
        #[param(required = false)]
        operation: Option<Operation>,
        /// Made at or after this instant.
        #[param(required = false, value_type = Option<String>, format = DateTime)]
        #[schema(value_type = Option<String>, format = DateTime)]
        from: Option<Instant>,
        /// Made before this instant.
        #[param(required = false, value_type = Option<String>, format = DateTime)]
        #[schema(value_type = Option<String>, format = DateTime)]
        to: Option<Instant>,
    }
}

/// The ledger, newest first.
#[utoipa::path(get, path = "/billing/credits/transactions", tag = "credits", params(CursorRequest, TransactionFilter), responses((status = 200, body = Page<Transaction>)), security(("bearer" = [])))]
async fn transactions(
    State(state): State<AppState>,
    viewer: Viewer,
    page: CursorRequest,
    Query(filter): Query<TransactionFilter>,
) -> Outcome<Answer> {
    let account = viewer.0.account.id;
    let filter =
        Filter { kind: filter.r#type, operation: filter.operation, from: filter.from.map(|from| from.0), to: filter.to.map(|to| to.0) };
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(&state.pool, account, &filter, newer_than, page.limit()).await?,
        None => store::list_older(&state.pool, account, &filter, page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(store::count_entries(&state.pool, account, &filter).await?) } else { None };
    Ok(Answer::list(page.page(rows, |row| row.id, count)))
}

/// What each operation costs.
#[utoipa::path(get, path = "/billing/credits/costs", tag = "credits", responses((status = 200, body = Envelope<Vec<OperationCost>>)), security(("bearer" = [])))]
async fn costs(State(state): State<AppState>, _: Viewer) -> Outcome<Answer> {
    Ok(Answer::ok(store::list_costs(&state.pool).await?))
}

request_body! { Refused:
    /// A new price.
    pub struct CostBody {
        /// Credits per unit, from 0 to 1,000,000.
        cost: i64,
        /// Why.
        reason: Text<500>,
    }
}

/// Sets what an operation costs from now on.
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
    service::set_cost(&state.pool, operation, cost, &body.reason.0, &origin, now).await?;
    Ok(Answer::ok(OperationCost { operation, unit: operation.unit(), cost }))
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
async fn check(State(state): State<AppState>, spender: Spender, Body(body): Body<CheckBody>) -> Outcome<Answer> {
    Ok(Answer::ok(service::quote(&state.pool, spender.account.pools, body.operation, body.quantity).await?))
}

request_body! { Ignored:
    /// A job that was done.
    pub struct DeductBody {
        /// What was done.
        operation: Operation,
        /// How many runs, ideas, words or images.
        quantity: Quantity,
        /// For the statement.
        description: Option<Text<500>>,
        /// Your own data, at most 4 KiB.
        metadata: Option<Metadata>,
        /// Your own word for it.
        reference: Option<Text<128>>,
    }
}

/// What a deduction did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deducted {
    /// The entry.
    pub transaction: Transaction,
    /// Both pools together after it.
    pub balance: Credits,
}

/// Spends credits. With an `Idempotency-Key` it can be sent again without spending twice.
#[utoipa::path(post, path = "/billing/credits/deduct", tag = "credits", request_body = DeductBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Deducted>), (status = 402, body = ErrorBody, description = "insufficient_credits, with required and available")), security(("bearer" = []), ("site_key" = [])))]
async fn deduct(
    State(state): State<AppState>,
    payer: Payer,
    key: Result<IdempotencyKey, Problem>,
    Now(now): Now,
    body: Result<Body<DeductBody>, Problem>,
) -> Outcome<Answer> {
    let (IdempotencyKey(key), Body(body)) = match key.and_then(|key| Ok((key, body?))) {
        Ok(input) => input,
        // Nobody is told what is wrong with a request that he may not send.
        Err(problem) => return Err(payer.prove(&state, now).await.err().unwrap_or(problem)),
    };
    let answer = |transaction: Transaction| Answer::created(Deducted { balance: transaction.balance_after, transaction });
    Ok(match spend(&state, payer, key, body, now).await? {
        Spent::New(transaction) => answer(transaction),
        Spent::Replayed(transaction) => {
            answer(transaction).header(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"))
        }
    })
}

/// Spends, first on trust where the payer was known before, and once more when he had to be proven.
async fn spend(state: &AppState, payer: Payer, key: Option<String>, body: DeductBody, now: Timestamp) -> Outcome<Spent> {
    let key = Keyed::bind(key, &payer.actor(), "deduct", &format!("{body:?}"));
    let spend = Spend {
        operation: body.operation,
        quantity: body.quantity,
        description: body.description.map(|text| text.0),
        metadata: body.metadata.unwrap_or_default(),
        reference: body.reference.map(|text| text.0),
        actor: payer.actor(),
    };
    let wanted = Wanted { account: payer.account(), spend, key, guess: payer.guess(), witness: payer.witness(), now };
    match state.combiner.spend(wanted.clone()).await {
        Err(CreditError::Unproven) => {
            let payer = payer.prove(state, now).await?;
            Ok(state.combiner.spend(Wanted { guess: payer.guess(), witness: payer.witness(), ..wanted }).await?)
        }
        done => Ok(done?),
    }
}
