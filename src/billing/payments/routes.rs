//! A customer's payments over HTTP: what he reports, and what became of it.

use super::{model::Report, service, store};
use crate::{
    billing::{
        model::{ExternalPaymentId, Payment, PaymentStatus},
        routes::marked,
    },
    idempotency::model::Keyed,
    ids::InvoiceId,
    money::Money,
    request_body,
    state::AppState,
    web::{
        caller::{Admin, Now, Owner, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Query, Text},
        field::Day,
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page},
        problem::{ErrorBody, Outcome},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a customer sees and says of his payments, whatever his account's state.
pub fn paying() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(report)).routes(routes!(payments))
}

request_body! { Refused:
    /// "I have paid."
    pub struct ReportBody {
        /// The transfer's reference, as the customer's bank shows it.
        reference: ExternalPaymentId,
        /// How much.
        amount: Money,
        /// In which currency; left out: the invoice's.
        currency: Option<Text<3>>,
        /// Who paid.
        payer_name: Text<200>,
        /// The day of the transfer.
        #[schema(value_type = String, format = Date)]
        paid_on: Day,
        /// For our staff.
        note: Option<Text<1000>>,
    }
}

/// Tells us of a transfer that was made: a billing admin looks for the money. Nothing activates by it. Told again, it is the
/// same payment.
#[utoipa::path(post, path = "/billing/invoices/{id}/report-transfer", tag = "billing", request_body = ReportBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Payment>), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "invoice_not_open, already_reported, idempotency_key_reused"), (status = 422, body = ErrorBody, description = "too_many_reports")), security(("bearer" = [])))]
async fn report(
    State(state): State<AppState>,
    Owner(member): Owner,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    Path(id): Path<i64>,
    Body(body): Body<ReportBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "report-transfer", format_args!("{id} {body:?}"));
    let report = Report {
        reference: body.reference.0,
        amount: body.amount,
        currency: body.currency.map(|currency| currency.0),
        payer_name: body.payer_name.0,
        paid_on: body.paid_on.0,
        note: body.note.map(|note| note.0),
    };
    let told = (InvoiceId(id), &report);
    let (payment, replayed) = service::report(&state.pool, member.account.id, told, key.as_ref(), &origin, now).await?;
    Ok(marked(Answer::created(payment).message("Thank you; we look for the money and write to you."), replayed))
}

request_body! { Ignored:
    /// Which of the account's payments.
    pub struct PaymentsQuery {
        /// Only of this status.
        #[param(inline)]
        status: Option<PaymentStatus>,
    }
}

/// The account's payments, newest first.
#[utoipa::path(get, path = "/billing/payments", tag = "billing", params(PaymentsQuery, CursorRequest), responses((status = 200, body = Page<Payment>)), security(("bearer" = [])))]
async fn payments(
    State(state): State<AppState>,
    Admin(member): Admin,
    Query(query): Query<PaymentsQuery>,
    page: CursorRequest,
) -> Outcome<Answer> {
    let (account, status) = (member.account.id, query.status);
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_payments_newer(&state.pool, account, status, newer_than, page.limit()).await?,
        None => store::list_payments_older(&state.pool, account, status, page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(store::count_payments(&state.pool, account, status).await?) } else { None };
    Ok(Answer::list(page.page(rows, |row| row.id.0, count)))
}
