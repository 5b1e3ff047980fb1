//! Credits over HTTP.

use super::{
    batch::rules::{Wanted, Work},
    explain,
    history::{self, model::PastBalance, store::get_balance_at},
    holds,
    model::{Balance, Metadata, Operation, Quantity, Spend, Transaction, TransactionKind},
    pricing,
    service::{CreditError, Receipt, Spent},
    statement,
    store::{self, Filter},
};
use crate::{
    clock::Timestamp,
    idempotency::model::Keyed,
    money::Credits,
    request_body,
    state::AppState,
    traces,
    web::{
        caller::{Now, Reader, Viewer},
        envelope::{Answer, Envelope},
        extract::{Body, Query, Text},
        field::Instant,
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page},
        payer::Payer,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    let own = OpenApiRouter::new().routes(routes!(balance)).routes(routes!(transactions));
    own.merge(pricing::routes::reading())
        .merge(history::routes::reading())
        .merge(explain::routes::reading())
        .merge(holds::routes::reading())
}

/// What a developer may change.
pub fn administration() -> OpenApiRouter<AppState> {
    pricing::routes::administration()
}

/// What only a working account may ask.
pub fn quoting() -> OpenApiRouter<AppState> {
    pricing::routes::asking()
}

/// What moves its credits.
pub fn spending() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(deduct)).merge(holds::routes::spending())
}

request_body! { Ignored:
    /// Which moment's balance to show.
    pub struct BalanceFilter {
        /// An instant that is not to come; left out: now, with what can be spent.
        #[param(required = false, value_type = Option<String>, format = DateTime)]
        #[schema(value_type = Option<String>, format = DateTime)]
        at: Option<Instant>,
    }
}

/// The balance of now, or of another moment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum BalanceAnswer {
    /// Of now.
    Now(Balance),
    /// Of the moment that was asked for.
    Past(PastBalance),
}

/// What is there to spend, and when it is reset. With `at`, what was there at that moment.
#[utoipa::path(get, path = "/billing/credits/balance", tag = "credits", params(BalanceFilter), responses((status = 200, body = Envelope<BalanceAnswer>)), security(("bearer" = []), ("site_key" = [])))]
async fn balance(State(state): State<AppState>, reader: Reader, Now(now): Now, Query(filter): Query<BalanceFilter>) -> Outcome<Answer> {
    let account = reader.account();
    let Some(Instant(at)) = filter.at else {
        return Ok(Answer::ok(BalanceAnswer::Now(Balance {
            credits: account.pools.total(),
            held: account.pools.total().minus(account.pools.available()).unwrap_or_default(),
            available: account.pools.available(),
            plan_credits: account.pools.plan,
            extra_credits: account.pools.extra,
            credits_per_month: account.plan.as_ref().map_or(Credits::ZERO, |plan| plan.credits_per_month),
            resets_at: account.subscription.as_ref().map(|subscription| subscription.current_period_end),
        })));
    };
    if now < at {
        return Err(Problem::invalid_field("at", "Give an instant that is not to come."));
    }
    Ok(Answer::ok(BalanceAnswer::Past(get_balance_at(&state.pool, account.id, at).await?)))
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

impl TransactionFilter {
    fn into_filter(self) -> Filter {
        Filter { kind: self.r#type, operation: self.operation, from: self.from.map(|from| from.0), to: self.to.map(|to| to.0) }
    }
}

/// The ledger, newest first. With `Accept: text/csv`, all entries of the filter as a file.
#[utoipa::path(get, path = "/billing/credits/transactions", tag = "credits", params(CursorRequest, TransactionFilter), responses((status = 200, content((Page<Transaction> = "application/json"), (String = "text/csv")))), security(("bearer" = [])))]
async fn transactions(
    State(state): State<AppState>,
    Viewer(member): Viewer,
    Now(now): Now,
    headers: HeaderMap,
    page: CursorRequest,
    Query(filter): Query<TransactionFilter>,
) -> Outcome<Response> {
    let account = member.account.id;
    let filter = filter.into_filter();
    let pool = state.reads.pool().await;
    if statement::routes::is_wanted(&headers) {
        return Ok(statement::routes::answer(pool.clone(), (account, &member.account.slug), filter, now));
    }
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(pool, account, &filter, newer_than, page.limit()).await?,
        None => store::list_older(pool, account, &filter, page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(store::count_entries(pool, account, &filter).await?) } else { None };
    Ok(Answer::list(page.page(rows, |row| row.id, count)).into_response())
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
    let input = key.and_then(|IdempotencyKey(key)| Ok((key, body?.0)));
    let (payer, (key, body)) = payer.with(input, &state, now).await?;
    let key = Keyed::bind(key, &payer.actor(), "deduct", format_args!("{body:?}"));
    let spend = Spend {
        operation: body.operation,
        quantity: body.quantity,
        description: body.description.map(|text| text.0),
        metadata: body.metadata.unwrap_or_default(),
        reference: body.reference.map(|text| text.0),
        actor: payer.actor(),
    };
    spend_by(&state, payer, key, Work::Debit(spend), now).await
}

/// Does the work, first on trust where the payer was known before, and once more when he had to be proven. Answers 201; a
/// replay says so.
pub async fn spend_by(state: &AppState, payer: Payer, key: Option<Keyed>, work: Work, now: Timestamp) -> Outcome<Answer> {
    let _spending = traces::Step::part("credits.batch"); // the wait for its turn and the commit with others
    let wanted = Wanted { account: payer.account(), work, key, guess: payer.guess(), warrant: payer.warrant(), now };
    let spent = match state.combiner.spend(wanted.clone()).await {
        Err(CreditError::Unproven) => {
            let payer = payer.prove(state, now).await?;
            state.combiner.spend(Wanted { guess: payer.guess(), warrant: payer.warrant(), ..wanted }).await?
        }
        done => done?,
    };
    let answer = |receipt: Receipt| match receipt {
        Receipt::Entry(transaction) => Answer::created(Deducted { balance: transaction.balance_after, transaction }),
        Receipt::Hold(told) => Answer::created(told),
    };
    Ok(match spent {
        Spent::New(receipt) => answer(receipt),
        Spent::Replayed(receipt) => {
            answer(receipt).header(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"))
        }
    })
}
