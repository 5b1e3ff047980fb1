//! Money over HTTP: what the customer owes, and what the billing admin confirms.

use super::{
    confirmation::{self, Confirmer},
    gifts,
    model::{AdminResult, Confirmation, Confirmed, ExternalPaymentId, Invoice, Payee, Payment, PaymentOption, Run, Transfer},
    payments,
    service::{self, Terms},
    store,
};
use crate::{
    accounts::{self, rules::AccountEvent},
    idempotency::model::Keyed,
    ids::{AccountId, InvoiceId, PaymentMethod},
    money::Money,
    period::days,
    request_body,
    state::AppState,
    web::{
        caller::{Admin, Developer, Now, Operator, Owner, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        field::Day,
        idempotency::IdempotencyKey,
        page::{CursorRequest, Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a customer owes and how he pays, whatever his account's state.
pub fn paying() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upgrade))
        .routes(routes!(invoices))
        .routes(routes!(invoice))
        .routes(routes!(payments))
        .routes(routes!(payment_methods))
}

/// What the platform's billing admins do.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(confirm))
        .routes(routes!(confirm_short))
        .routes(routes!(set_plan))
        .merge(gifts::routes::administration())
        .routes(routes!(suspend))
        .routes(routes!(reactivate))
}

fn terms(state: &AppState) -> Terms {
    Terms { grace: days(state.config.grace_days), due_days: state.config.invoice_due_days }
}

request_body! { Ignored:
    /// A paid plan that is asked for.
    pub struct UpgradeBody {
        /// starter, growth or scale.
        plan_slug: Text<64>,
        /// How it will be paid; left out: bank_transfer.
        payment_method: Option<PaymentMethod>,
    }
}

/// Asks for a paid plan: gives the invoice to pay, with bank details and reference. Asked again, it is the same invoice.
#[utoipa::path(post, path = "/account/upgrade", tag = "account", request_body = UpgradeBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Envelope<Invoice>), (status = 403, body = ErrorBody, description = "enterprise_requires_manual_assignment"), (status = 409, body = ErrorBody, description = "system_account, idempotency_key_reused"), (status = 422, body = ErrorBody, description = "plan_not_payable")), security(("bearer" = [])))]
async fn upgrade(
    State(state): State<AppState>,
    Owner(member): Owner,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    Body(body): Body<UpgradeBody>,
) -> Outcome<Answer> {
    let method = body.payment_method.unwrap_or(PaymentMethod::BankTransfer);
    let key = Keyed::bind(key, &origin.actor, "upgrade", &format!("{} {method}", body.plan_slug.0));
    let wanted = (body.plan_slug.0.as_str(), method);
    let (invoice, replayed) = service::upgrade(&state.pool, member.account.id, wanted, key.as_ref(), terms(&state), &origin, now).await?;
    let sentence = format!(
        "Transfer {} {} with the reference {}.",
        invoice["amount"].as_str().unwrap_or(""),
        invoice["currency"].as_str().unwrap_or(""),
        invoice["reference"].as_str().unwrap_or("")
    );
    Ok(marked(Answer::created(invoice).message(sentence), replayed))
}

pub(super) fn marked(answer: Answer, replayed: bool) -> Answer {
    if replayed { answer.header(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true")) } else { answer }
}

/// The account's invoices, newest first.
#[utoipa::path(get, path = "/billing/invoices", tag = "billing", params(PageRequest), responses((status = 200, body = Page<Invoice>)), security(("bearer" = [])))]
async fn invoices(State(state): State<AppState>, Admin(member): Admin, page: PageRequest) -> Outcome<Answer> {
    let rows = store::list_invoices(&state.pool, member.account.id, page.page_size, page.offset()).await?;
    let count = store::count_invoices(&state.pool, member.account.id).await?;
    Ok(Answer::list(page.page(rows, count)))
}

/// One invoice.
#[utoipa::path(get, path = "/billing/invoices/{id}", tag = "billing", params(("id" = i64, Path)), responses((status = 200, body = Envelope<Invoice>)), security(("bearer" = [])))]
async fn invoice(State(state): State<AppState>, Admin(member): Admin, Path(id): Path<i64>) -> Outcome<Answer> {
    let invoice = store::find_invoice(&state.pool, member.account.id, InvoiceId(id)).await?;
    invoice.map(Answer::ok).ok_or_else(Problem::not_found)
}

/// The account's payments, newest first.
#[utoipa::path(get, path = "/billing/payments", tag = "billing", params(CursorRequest), responses((status = 200, body = Page<Payment>)), security(("bearer" = [])))]
async fn payments(State(state): State<AppState>, Admin(member): Admin, page: CursorRequest) -> Outcome<Answer> {
    let account = member.account.id;
    let rows = match page.newer_than() {
        Some(newer_than) => payments::store::list_payments_newer(&state.pool, account, newer_than, page.limit()).await?,
        None => payments::store::list_payments_older(&state.pool, account, page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(payments::store::count_payments(&state.pool, account).await?) } else { None };
    Ok(Answer::list(page.page(rows, |row| row.id.0, count)))
}

/// The ways to pay that are on offer.
#[utoipa::path(get, path = "/billing/payment-methods/available", tag = "billing", responses((status = 200, body = Envelope<Vec<PaymentOption>>)), security(("bearer" = [])))]
async fn payment_methods(State(state): State<AppState>, _: Admin) -> Outcome<Answer> {
    Ok(Answer::ok(store::list_payment_methods(&state.pool).await?))
}

request_body! { Refused:
    /// A transfer that an admin saw on the bank's statement. Name the account by one of the first three fields.
    pub struct ConfirmBody {
        /// The account's number.
        account_id: Option<i64>,
        /// The account's word.
        account_slug: Option<Text<64>>,
        /// The number of an invoice of it.
        invoice_number: Option<Text<64>>,
        /// The bank's own reference; counts once.
        external_payment_id: ExternalPaymentId,
        /// What arrived.
        amount: Money,
        /// Who paid.
        payer_name: Text<200>,
        /// What for; left out: the open invoice's plan, else the account's own paid plan.
        plan_slug: Option<Text<64>>,
        /// In which currency; left out: the invoice's.
        currency: Option<Text<3>>,
        /// The day the money moved.
        #[schema(value_type = Option<String>, format = Date)]
        paid_on: Option<Day>,
        /// For the file.
        note: Option<Text<1000>>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
        /// True: another amount than what is owed is taken; needs a reason.
        accept_amount_mismatch: Option<bool>,
        /// Why.
        reason: Option<Text<1000>>,
    }
}

impl ConfirmBody {
    fn into_transfer(self) -> Outcome<Transfer> {
        let payee = match (self.account_id, self.account_slug, self.invoice_number) {
            (Some(id), None, None) => Payee::Account(AccountId(id)),
            (None, Some(slug), None) => Payee::Slug(slug.0),
            (None, None, Some(number)) => Payee::Invoice(number.0),
            _ => return Err(Problem::invalid_field("account_id", "Give exactly one of account_id, account_slug and invoice_number.")),
        };
        let reason = self.reason.map(|reason| reason.0);
        let accepts = self.accept_amount_mismatch.unwrap_or(false);
        if self.amount.is_zero() {
            return Err(Problem::invalid_field("amount", "Give an amount above zero."));
        }
        if accepts && reason.is_none() {
            return Err(Problem::invalid_field("reason", "accept_amount_mismatch needs a reason."));
        }
        Ok(Transfer {
            payee,
            external_payment_id: self.external_payment_id.0,
            amount: self.amount,
            currency: self.currency.map(|currency| currency.0.to_uppercase()),
            payer_name: self.payer_name.0,
            plan_slug: self.plan_slug.map(|slug| slug.0),
            paid_on: self.paid_on.map(|day| day.0),
            note: self.note.map(|note| note.0),
            mismatch_accepted_because: reason.filter(|_| accepts),
            run: if self.dry_run.unwrap_or(false) { Run::Dry } else { Run::Real },
        })
    }
}

/// Confirms a bank transfer: activates or renews the plan that was paid for, once, whoever sends it how often.
#[utoipa::path(post, path = "/billing/admin/confirm-bank-transfer", tag = "billing administration", request_body = ConfirmBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Confirmation>), (status = 404, body = ErrorBody, description = "not_found: no such account or invoice"), (status = 409, body = ErrorBody, description = "transfer_conflict"), (status = 422, body = ErrorBody, description = "amount_mismatch, currency_mismatch, no_payable_plan, plan_not_payable")), security(("bearer" = [])))]
async fn confirm(
    state: State<AppState>,
    operator: Operator,
    source: Source,
    key: IdempotencyKey,
    now: Now,
    headers: HeaderMap,
    body: Body<ConfirmBody>,
) -> Outcome<Answer> {
    confirmed(state.0, operator, (source, key), now, headers, body).await
}

/// The same under its short address.
#[utoipa::path(post, path = "/billing/confirm-bank-transfer", tag = "billing administration", request_body = ConfirmBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Confirmation>), (status = 404, body = ErrorBody, description = "not_found: no such account or invoice"), (status = 409, body = ErrorBody, description = "transfer_conflict"), (status = 422, body = ErrorBody, description = "amount_mismatch, currency_mismatch, no_payable_plan, plan_not_payable")), security(("bearer" = [])))]
async fn confirm_short(
    state: State<AppState>,
    operator: Operator,
    source: Source,
    key: IdempotencyKey,
    now: Now,
    headers: HeaderMap,
    body: Body<ConfirmBody>,
) -> Outcome<Answer> {
    confirmed(state.0, operator, (source, key), now, headers, body).await
}

async fn confirmed(
    state: AppState,
    Operator(person): Operator,
    (Source(origin), IdempotencyKey(key)): (Source, IdempotencyKey),
    Now(now): Now,
    headers: HeaderMap,
    Body(body): Body<ConfirmBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "confirm-bank-transfer", &format!("{body:?}"));
    let home = person.user.account.as_ref().map(|account| account.id);
    let by = Confirmer { user: person.user.id, origin, key: home.zip(key) };
    let (confirmed, replayed) = confirmation::confirm(&state.pool, &body.into_transfer()?, &by, terms(&state), now).await?;
    let wants_text = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.trim_start().starts_with("text/plain"));
    let answer = if wants_text { Answer::plain(lines(&confirmed)) } else { Answer::ok(confirmed.data).message(confirmed.message) };
    Ok(marked(answer, replayed))
}

/// The same facts as a few aligned lines, for a terminal.
fn lines(confirmed: &Confirmed) -> String {
    let mut text = format!("{}\n", confirmed.message);
    for (field, change) in confirmed.data["changes"].as_object().into_iter().flatten() {
        let word = |at: usize| match &change[at] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        text.push_str(&format!("  {field:<36} {} → {}\n", word(0), word(1)));
    }
    text
}

request_body! { Refused:
    /// A plan, set by a developer's hand.
    pub struct SetPlanBody {
        /// Any active plan, enterprise included.
        plan_slug: Text<64>,
        /// Why.
        reason: Text<1000>,
    }
}

/// Sets an account's plan by hand: the only way to enterprise. Developers only.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/plan", tag = "billing administration", request_body = SetPlanBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<AdminResult>)), security(("bearer" = [])))]
async fn set_plan(
    State(state): State<AppState>,
    _: Developer,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    Path(id): Path<i64>,
    Body(body): Body<SetPlanBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "set-plan", &format!("{id} {body:?}"));
    let (wanted, grace) = ((body.plan_slug.0.as_str(), body.reason.0.as_str()), days(state.config.grace_days));
    let (set, replayed) = service::set_plan(&state.pool, AccountId(id), wanted, key.as_ref(), grace, &origin, now).await?;
    Ok(marked(Answer::ok(set.data).message(set.message), replayed))
}

request_body! { Refused:
    /// Why an admin does it.
    pub struct ReasonBody {
        /// Goes into the log.
        reason: Text<1000>,
    }
}

/// Stops an account: its tokens and keys get 403 from the next request on.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/suspend", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<AdminResult>), (status = 409, body = ErrorBody, description = "illegal_move, system_account")), security(("bearer" = [])))]
async fn suspend(state: State<AppState>, _: Operator, source: Source, now: Now, id: Path<i64>, body: Body<ReasonBody>) -> Outcome<Answer> {
    moved(state.0, AccountEvent::Suspended, source, now, id, body).await
}

/// Lets a suspended account go on.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/reactivate", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<AdminResult>), (status = 409, body = ErrorBody, description = "illegal_move")), security(("bearer" = [])))]
async fn reactivate(
    state: State<AppState>,
    _: Operator,
    source: Source,
    now: Now,
    id: Path<i64>,
    body: Body<ReasonBody>,
) -> Outcome<Answer> {
    moved(state.0, AccountEvent::Reactivated, source, now, id, body).await
}

async fn moved(
    state: AppState,
    event: AccountEvent,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<i64>,
    Body(body): Body<ReasonBody>,
) -> Outcome<Answer> {
    let account = AccountId(id);
    let status =
        accounts::life::move_by_staff(&state.pool, account, (event, &body.reason.0), days(state.config.grace_days), &origin, now).await?;
    Ok(Answer::ok(AdminResult { account_id: account, status, plan: None, credits: None }).message(format!("Account {id} is {status}.")))
}
