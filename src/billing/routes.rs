//! Money over HTTP: what the customer owes, and what the billing admin confirms.

use super::{
    approvals::{self, model::Waiting, rules::Thresholds},
    confirmation::{Confirmer, Order},
    customers::{self, service::StaffMove},
    downgrades, gifts, invoices, methods, metrics,
    model::{AdminResult, Confirmation, Confirmed, ExternalPaymentId, Invoice, OtherAmount, Payee, Run, Transfer},
    payments, queue, reversals,
    service::{self, PlanWish, Terms},
    statements, timeline, trials,
};
use crate::{
    accounts::rules::AccountEvent,
    idempotency::model::Keyed,
    ids::{AccountId, PaymentMethod},
    money::Money,
    period::days,
    request_body,
    state::AppState,
    web::{
        caller::{Developer, Now, Operator, Owner, Source},
        envelope::{Answer, Envelope, wants_text},
        extract::{Body, Path, Text},
        field::Day,
        idempotency::IdempotencyKey,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a customer owes and how he pays, whatever his account's state.
pub fn paying() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upgrade))
        .merge(invoices::routes::paying())
        .merge(payments::routes::paying())
        .merge(methods::routes::paying())
        .merge(downgrades::routes::deciding())
        .merge(timeline::routes::reading())
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
        .merge(queue::routes::administration())
        .merge(reversals::routes::administration())
        .merge(invoices::routes::administration())
        .merge(methods::routes::administration())
        .merge(customers::routes::administration())
        .merge(trials::routes::administration())
        .merge(approvals::routes::administration())
        .merge(statements::routes::administration())
        .merge(metrics::routes::administration())
}

/// What configuration says of money.
pub fn terms(state: &AppState) -> Terms<'_> {
    let config = &state.config;
    let (grace, outbox) = (days(config.grace_days), state.desk().outbox());
    Terms { grace, due_days: config.invoice_due_days, override_max: config.approval_threshold_money, outbox }
}

pub(super) fn thresholds(state: &AppState) -> Thresholds {
    Thresholds { credits: state.config.approval_threshold_credits, money: state.config.approval_threshold_money }
}

/// The admin's own account, under which his keys are kept.
pub(super) fn home(Operator(person): &Operator) -> Option<AccountId> {
    person.user.account.as_ref().map(|account| account.id)
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
    let key = Keyed::bind(key, &origin.actor, "upgrade", format_args!("{} {method}", body.plan_slug.0));
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

request_body! { Refused:
    /// A transfer that an admin saw on the bank's statement. Name the account by one of the first five fields.
    pub struct ConfirmBody {
        /// The account's number.
        account_id: Option<i64>,
        /// The account's word.
        account_slug: Option<Text<64>>,
        /// The number of an invoice of it.
        invoice_number: Option<Text<64>>,
        /// The payment reference of an invoice of it, as the customer typed it.
        reference: Option<Text<64>>,
        /// The address of one of its people.
        email: Option<Text<254>>,
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
        /// True: another amount than what is outstanding counts towards the invoice, which stays open until all has come.
        partial: Option<bool>,
        /// True: another amount than what is outstanding is taken for the whole; needs a reason.
        accept_amount_mismatch: Option<bool>,
        /// Why.
        reason: Option<Text<1000>>,
    }
}

impl ConfirmBody {
    fn into_transfer(self) -> Outcome<Transfer> {
        let named = [
            self.account_id.map(|id| Payee::Account(AccountId(id))),
            self.account_slug.map(|slug| Payee::Slug(slug.0.to_lowercase())),
            self.invoice_number.map(|number| Payee::Invoice(number.0.to_uppercase())),
            self.reference.map(|reference| Payee::Reference(reference.0)),
            self.email.map(|email| Payee::Email(email.0.to_lowercase())),
        ];
        let Ok([payee]) = <[Payee; 1]>::try_from(named.into_iter().flatten().collect::<Vec<_>>()) else {
            let sentence = "Give exactly one of account_id, account_slug, invoice_number, reference and email.";
            return Err(Problem::invalid_field("account_id", sentence));
        };
        let other_amount = other_amount(self.partial, self.accept_amount_mismatch, self.reason.map(|reason| reason.0))?;
        if self.amount.is_zero() {
            return Err(Problem::invalid_field("amount", "Give an amount above zero."));
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
            other_amount,
            run: Run::of(self.dry_run),
        })
    }
}

/// What happens to another amount than what is outstanding, as the admin says.
pub(super) fn other_amount(partial: Option<bool>, accept: Option<bool>, reason: Option<String>) -> Outcome<OtherAmount> {
    match (partial.unwrap_or(false), accept.unwrap_or(false), reason) {
        (true, true, _) => Err(Problem::invalid_field("partial", "Give either partial or accept_amount_mismatch.")),
        (true, false, _) => Ok(OtherAmount::Counted),
        (false, true, Some(reason)) => Ok(OtherAmount::Accepted(reason)),
        (false, true, None) => Err(Problem::invalid_field("reason", "accept_amount_mismatch needs a reason.")),
        (false, false, _) => Ok(OtherAmount::Refused),
    }
}

/// Confirms a bank transfer: activates or renews the plan that was paid for, once, whoever sends it how often.
#[utoipa::path(post, path = "/billing/admin/confirm-bank-transfer", tag = "billing administration", request_body = ConfirmBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Confirmation>), (status = 202, body = Envelope<Waiting>, description = "waits for a second admin"), (status = 404, body = ErrorBody, description = "not_found: no such account, invoice, reference or address"), (status = 409, body = ErrorBody, description = "transfer_conflict"), (status = 422, body = ErrorBody, description = "amount_mismatch, currency_mismatch, no_payable_plan, plan_not_payable")), security(("bearer" = [])))]
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
#[utoipa::path(post, path = "/billing/confirm-bank-transfer", tag = "billing administration", request_body = ConfirmBody, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<Confirmation>), (status = 202, body = Envelope<Waiting>, description = "waits for a second admin"), (status = 404, body = ErrorBody, description = "not_found: no such account, invoice, reference or address"), (status = 409, body = ErrorBody, description = "transfer_conflict"), (status = 422, body = ErrorBody, description = "amount_mismatch, currency_mismatch, no_payable_plan, plan_not_payable")), security(("bearer" = [])))]
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
    operator: Operator,
    (Source(origin), IdempotencyKey(key)): (Source, IdempotencyKey),
    Now(now): Now,
    headers: HeaderMap,
    Body(body): Body<ConfirmBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "confirm-bank-transfer", format_args!("{body:?}"));
    let by = Confirmer::of(operator.0.user.id, home(&operator), origin, key);
    let order = Order::Seen(body.into_transfer()?);
    let (confirmed, replayed) = approvals::service::confirm(&state.pool, &order, &by, terms(&state), now).await?;
    Ok(answered(confirmed, replayed, &headers))
}

/// An order that was carried out: JSON, or a few lines for an admin in a terminal.
pub(super) fn answered(confirmed: Confirmed, replayed: bool, headers: &HeaderMap) -> Answer {
    with_status(StatusCode::OK, confirmed, replayed, headers)
}

/// The same for an order that made something.
pub(super) fn answered_created(confirmed: Confirmed, replayed: bool, headers: &HeaderMap) -> Answer {
    with_status(StatusCode::CREATED, confirmed, replayed, headers)
}

/// An order that waits for a second admin is accepted and not done: 202.
fn with_status(status: StatusCode, confirmed: Confirmed, replayed: bool, headers: &HeaderMap) -> Answer {
    let status = if confirmed.data.get("approval").is_some() { StatusCode::ACCEPTED } else { status };
    let answer = if wants_text(headers) { Answer::plain(lines(&confirmed)) } else { Answer::ok(confirmed.data).message(confirmed.message) };
    marked(answer.with_status(status), replayed)
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
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Sets an account's plan by hand: the only way to enterprise. Developers only. Above a configured amount it waits for a second one.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/plan", tag = "billing administration", request_body = SetPlanBody, params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Envelope<AdminResult>), (status = 202, body = Envelope<Waiting>, description = "waits for a second developer")), security(("bearer" = [])))]
#[allow(clippy::too_many_arguments, reason = "one extractor each")]
async fn set_plan(
    State(state): State<AppState>,
    Developer(person): Developer,
    Source(origin): Source,
    IdempotencyKey(key): IdempotencyKey,
    Now(now): Now,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Body(body): Body<SetPlanBody>,
) -> Outcome<Answer> {
    let key = Keyed::bind(key, &origin.actor, "set-plan", format_args!("{id} {body:?}"));
    let wish = PlanWish { plan_slug: &body.plan_slug.0, reason: &body.reason.0 };
    let by = Confirmer::of(person.user.id, Some(AccountId(id)), origin, key);
    let (order, limits) = ((wish, Run::of(body.dry_run)), (terms(&state), thresholds(&state)));
    let (set, replayed) = approvals::service::set_plan(&state.pool, AccountId(id), order, &by, limits, now).await?;
    Ok(answered(set, replayed, &headers))
}

request_body! { Refused:
    /// Why an admin does it.
    pub struct ReasonBody {
        /// Goes into the log.
        reason: Text<1000>,
        /// True: same checks, same answer, nothing written.
        dry_run: Option<bool>,
    }
}

/// Stops an account: its tokens and keys get 403 from the next request on.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/suspend", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<AdminResult>), (status = 409, body = ErrorBody, description = "illegal_move, system_account")), security(("bearer" = [])))]
async fn suspend(
    state: State<AppState>,
    _: Operator,
    source: Source,
    now: Now,
    headers: HeaderMap,
    id: Path<i64>,
    body: Body<ReasonBody>,
) -> Outcome<Answer> {
    moved(state.0, AccountEvent::Suspended, (source, headers), now, id, body).await
}

/// Lets a suspended account go on.
#[utoipa::path(post, path = "/billing/admin/accounts/{id}/reactivate", tag = "billing administration", request_body = ReasonBody, params(("id" = i64, Path)), responses((status = 200, body = Envelope<AdminResult>), (status = 409, body = ErrorBody, description = "illegal_move")), security(("bearer" = [])))]
async fn reactivate(
    state: State<AppState>,
    _: Operator,
    source: Source,
    now: Now,
    headers: HeaderMap,
    id: Path<i64>,
    body: Body<ReasonBody>,
) -> Outcome<Answer> {
    moved(state.0, AccountEvent::Reactivated, (source, headers), now, id, body).await
}

async fn moved(
    state: AppState,
    event: AccountEvent,
    (Source(origin), headers): (Source, HeaderMap),
    Now(now): Now,
    Path(id): Path<i64>,
    Body(body): Body<ReasonBody>,
) -> Outcome<Answer> {
    let by = StaffMove { event, reason: &body.reason.0, run: Run::of(body.dry_run) };
    let grace = days(state.config.grace_days);
    let moved = customers::service::move_by_staff(&state.pool, AccountId(id), by, grace, &origin, now).await?;
    Ok(answered(moved, false, &headers))
}
