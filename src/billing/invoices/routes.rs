//! Invoices over HTTP.

use super::{model::Withdrawn, service};
use crate::{
    accounts,
    billing::{
        model::{Invoice, Run},
        paper::{
            self,
            model::{Buyer, Seller},
        },
        routes::{ReasonBody, answered},
        store,
    },
    ids::InvoiceId,
    period::days,
    state::AppState,
    web::{
        caller::{Admin, Now, Operator, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path},
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a customer owes, whatever his account's state.
pub fn paying() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(invoices)).routes(routes!(invoice)).routes(routes!(download))
}

/// What billing admins do about it.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(withdraw))
}

/// The account's invoices, newest first.
#[utoipa::path(get, path = "/billing/invoices", tag = "billing", params(PageRequest), responses((status = 200, body = Page<Invoice>)), security(("bearer" = [])))]
async fn invoices(State(state): State<AppState>, Admin(member): Admin, page: PageRequest) -> Outcome<Answer> {
    let rows = store::list_invoices(&state.pool, member.account.id, page.page_size, page.offset()).await?;
    let count = store::count_invoices(&state.pool, member.account.id).await?;
    Ok(Answer::list(page.page(rows, count)))
}

/// One invoice, with what of it has come.
#[utoipa::path(get, path = "/billing/invoices/{id}", tag = "billing", params(("id" = i64, Path)), responses((status = 200, body = Envelope<Invoice>), (status = 404, body = ErrorBody)), security(("bearer" = [])))]
async fn invoice(State(state): State<AppState>, Admin(member): Admin, Path(id): Path<i64>) -> Outcome<Answer> {
    let invoice = store::find_invoice(&state.pool, member.account.id, InvoiceId(id)).await?;
    invoice.map(Answer::ok).ok_or_else(Problem::not_found)
}

/// One invoice as a PDF; once it is paid, the receipt.
#[utoipa::path(get, path = "/billing/invoices/{id}/download_pdf", tag = "billing", params(("id" = i64, Path)), responses((status = 200, body = Vec<u8>, content_type = "application/pdf"), (status = 404, body = ErrorBody)), security(("bearer" = [])))]
async fn download(State(state): State<AppState>, Admin(member): Admin, Path(id): Path<i64>) -> Outcome<Answer> {
    let account = member.account.id;
    let invoice = store::find_invoice(&state.pool, account, InvoiceId(id)).await?.ok_or_else(Problem::not_found)?;
    let details = accounts::store::find_details(&state.pool, account).await?.ok_or_else(Problem::not_found)?.details;
    let buyer = Buyer { name: details.name, address: details.billing_address, email: details.billing_email };
    let paper = paper::rules::paper(&invoice, &buyer, &seller(&state));
    // Fonts are cut to the letters used, which takes a while: not on a thread that others wait for.
    let drawn = tokio::task::spawn_blocking(move || paper::pdf::draw(&paper)).await;
    match drawn.map_err(|error| error.to_string()).and_then(|drawn| drawn.map_err(|error| error.to_string())) {
        Ok(bytes) => Ok(Answer::file("application/pdf", &format!("{}.pdf", invoice.number), bytes)),
        Err(reason) => Err(Problem::internal(&reason)),
    }
}

fn seller(state: &AppState) -> Seller {
    let config = &state.config;
    Seller { name: config.seller_name.clone(), address: config.seller_address.clone(), tax_id: config.seller_tax_id.clone() }
}

/// Withdraws an open invoice. It keeps its number and is void; the next one gets the next number.
#[utoipa::path(post, path = "/billing/admin/invoices/{id}/void", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<Withdrawn>), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "invoice_not_open")), security(("bearer" = [])))]
async fn withdraw(
    State(state): State<AppState>,
    _: Operator,
    Source(origin): Source,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<ReasonBody>,
) -> Outcome<Answer> {
    let (id, grace) = (InvoiceId(id), days(state.config.grace_days));
    let why = (body.reason.0.as_str(), Run::of(body.dry_run));
    let withdrawn = service::withdraw(&state.pool, id, why, grace, &origin, now).await?;
    Ok(answered(withdrawn, false, &headers))
}
