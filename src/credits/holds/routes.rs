//! Holds over HTTP.

use super::{
    model::{Captured, Held, Hold, HoldSeconds, HoldStatus, HoldWork, Named},
    store,
};
use crate::{
    credits::{
        batch::rules::Work,
        model::{Metadata, Operation, Quantity, Spend},
        routes::spend_by,
    },
    idempotency::model::Keyed,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Reader, Viewer},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Query, Text},
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page},
        payer::Payer,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(holds)).routes(routes!(hold))
}

/// What reserves credits, and settles what is reserved.
pub fn spending() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(place)).routes(routes!(capture)).routes(routes!(release))
}

request_body! { Ignored:
    /// Which holds to show.
    pub struct HoldFilter {
        /// Only those of which this became.
        #[param(required = false)]
        status: Option<HoldStatus>,
    }
}

/// The account's holds, newest first.
#[utoipa::path(get, path = "/billing/credits/holds", tag = "credits", params(CursorRequest, HoldFilter), responses((status = 200, body = Page<Hold>)), security(("bearer" = [])))]
async fn holds(
    State(state): State<AppState>,
    Viewer(member): Viewer,
    Now(now): Now,
    page: CursorRequest,
    Query(filter): Query<HoldFilter>,
) -> Outcome<Answer> {
    let (account, status) = (member.account.id, filter.status);
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(&state.pool, account, status, (newer_than, page.limit()), now).await?,
        None => store::list_older(&state.pool, account, status, (page.older_than(), page.limit()), now).await?,
    };
    let count = if page.count { Some(store::count_holds(&state.pool, account, status, now).await?) } else { None };
    let rows = rows.into_iter().map(|hold| hold.as_of(now)).collect::<Vec<_>>();
    Ok(Answer::list(page.page(rows, |hold| hold.id, count)))
}

/// One hold. A site key sees those that its site placed.
#[utoipa::path(get, path = "/billing/credits/holds/{id}", tag = "credits", params(("id" = i64, Path)), responses((status = 200, body = Envelope<Hold>)), security(("bearer" = []), ("site_key" = [])))]
async fn hold(State(state): State<AppState>, reader: Reader, Now(now): Now, Path(id): Path<i64>) -> Outcome<Answer> {
    let found = store::find_hold(&state.pool, reader.account().id, id).await?;
    let is_his = |hold: &Hold| match &reader {
        Reader::Member(_) => true,
        Reader::Site(site) => hold.actor == format!("site:{}", site.site),
    };
    Ok(Answer::ok(found.filter(is_his).ok_or_else(Problem::not_found)?.as_of(now)))
}

request_body! { Ignored:
    /// A job that is to be done.
    pub struct HoldBody {
        /// What is to be done.
        operation: Operation,
        /// How many runs, ideas, words or images at the most.
        quantity: Quantity,
        /// For the statement.
        description: Option<Text<500>>,
        /// Your own data, at most 4 KiB.
        metadata: Option<Metadata>,
        /// Your own word for it.
        reference: Option<Text<128>>,
        /// How long the credits stay reserved, from 1 to 86,400 seconds; left out: 900.
        expires_in_seconds: Option<HoldSeconds>,
    }
}

/// Reserves what a job will cost at most, at the present price, before it is done. Expires by itself.
#[utoipa::path(post, path = "/billing/credits/holds", tag = "credits", request_body = HoldBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Held>), (status = 402, body = ErrorBody, description = "insufficient_credits, with required and available"), (status = 422, body = ErrorBody, description = "too_many_holds, with limit")), security(("bearer" = []), ("site_key" = [])))]
async fn place(
    State(state): State<AppState>,
    payer: Payer,
    key: Result<IdempotencyKey, Problem>,
    Now(now): Now,
    body: Result<Body<HoldBody>, Problem>,
) -> Outcome<Answer> {
    let input = key.and_then(|IdempotencyKey(key)| Ok((key, body?.0)));
    let (payer, (key, body)) = payer.with(input, &state, now).await?;
    let key = Keyed::bind(key, &payer.actor(), "holds", format_args!("{body:?}"));
    let spend = Spend {
        operation: body.operation,
        quantity: body.quantity,
        description: body.description.map(|text| text.0),
        metadata: body.metadata.unwrap_or_default(),
        reference: body.reference.map(|text| text.0),
        actor: payer.actor(),
    };
    let lasts = body.expires_in_seconds.unwrap_or(HoldSeconds::DEFAULT);
    spend_by(&state, payer, key, Work::Hold(HoldWork::Place { spend, lasts }), now).await
}

request_body! { Ignored:
    /// What was done of a hold's job.
    pub struct CaptureBody {
        /// How many were done, at most what was held; left out: all.
        quantity: Option<Quantity>,
    }
}

/// Pays what was done, at the price of the hold, and lets the rest go.
#[utoipa::path(post, path = "/billing/credits/holds/{id}/capture", tag = "credits", request_body = CaptureBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Captured>), (status = 409, body = ErrorBody, description = "hold_not_open, with its state; capture_exceeds_hold; idempotency_key_reused")), security(("bearer" = []), ("site_key" = [])))]
async fn capture(
    State(state): State<AppState>,
    payer: Payer,
    (id, key): (Result<Path<i64>, Problem>, Result<IdempotencyKey, Problem>),
    Now(now): Now,
    body: Result<Body<CaptureBody>, Problem>,
) -> Outcome<Answer> {
    let input = id.and_then(|Path(id)| Ok((id, key?.0, body?.0)));
    let (payer, (id, key, body)) = payer.with(input, &state, now).await?;
    let key = Keyed::bind(key, &payer.actor(), &format!("holds/{id}/capture"), format_args!("{body:?}"));
    let work = HoldWork::Capture { hold: named(id, &payer), quantity: body.quantity };
    spend_by(&state, payer, key, Work::Hold(work), now).await
}

/// Lets a hold go.
#[utoipa::path(post, path = "/billing/credits/holds/{id}/release", tag = "credits", params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Held>), (status = 409, body = ErrorBody, description = "hold_not_open, with its state; idempotency_key_reused")), security(("bearer" = []), ("site_key" = [])))]
async fn release(
    State(state): State<AppState>,
    payer: Payer,
    id: Result<Path<i64>, Problem>,
    key: Result<IdempotencyKey, Problem>,
    Now(now): Now,
) -> Outcome<Answer> {
    let input = id.and_then(|Path(id)| Ok((id, key?.0)));
    let (payer, (id, key)) = payer.with(input, &state, now).await?;
    let key = Keyed::bind(key, &payer.actor(), &format!("holds/{id}/release"), "");
    let work = HoldWork::Release { hold: named(id, &payer) };
    Ok(spend_by(&state, payer, key, Work::Hold(work), now).await?.with_status(StatusCode::OK))
}

/// The hold of that number, as far as it is the payer's to settle.
fn named(id: i64, payer: &Payer) -> Named {
    Named { id, actor: payer.actor(), reach: payer.reach() }
}
