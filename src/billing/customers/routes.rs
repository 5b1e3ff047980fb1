//! The admins' look at accounts over HTTP.

use super::{
    model::{Customer, CustomerFile, CustomerFilter, Instants},
    rules, service, store,
};
use crate::{
    accounts::model::AccountStatus,
    clock::Timestamp,
    ids::AccountId,
    period::days,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Operator},
        envelope::{Answer, Envelope, wants_text},
        extract::{Path, Query, Text},
        page::{CursorRequest, Page},
        problem::{ErrorBody, Outcome},
    },
};
use axum::{extract::State, http::HeaderMap};
use utoipa_axum::{router::OpenApiRouter, routes};

/// How billing admins find an account.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(customers)).routes(routes!(customer))
}

request_body! { Ignored:
    /// Which accounts.
    pub struct CustomersQuery {
        /// The account's number, or the beginning of its slug, of any of its people's addresses, of words of its name, of an
        /// invoice's number or payment reference, or of a payment's reference at the bank.
        #[param(inline)]
        q: Option<Text<254>>,
        /// Only accounts that stand so now.
        #[param(inline)]
        status: Option<AccountStatus>,
        /// Only with this plan.
        #[param(inline)]
        plan: Option<Text<64>>,
    }
}

fn instants(state: &AppState, now: Timestamp) -> Instants {
    Instants { now, grace_began: now - days(state.config.grace_days) }
}

/// Accounts, newest first. With `Accept: text/plain` a line for each.
#[utoipa::path(get, path = "/billing/admin/accounts", tag = "billing administration", params(CustomersQuery, CursorRequest), responses((status = 200, body = Page<Customer>)), security(("bearer" = [])))]
async fn customers(
    State(state): State<AppState>,
    _: Operator,
    Now(now): Now,
    headers: HeaderMap,
    Query(query): Query<CustomersQuery>,
    page: CursorRequest,
) -> Outcome<Answer> {
    let search = query.q.map(|typed| rules::search(&typed.0));
    let filter = CustomerFilter { search, status: query.status, plan: query.plan.map(|plan| plan.0) };
    let at = instants(&state, now);
    let rows = match page.newer_than() {
        Some(newer_than) => store::list_newer(&state.pool, &filter, newer_than, page.limit(), at).await?,
        None => store::list_older(&state.pool, &filter, page.older_than(), page.limit(), at).await?,
    };
    let page = page.page(rows, |row| row.id.0, None);
    Ok(if wants_text(&headers) { Answer::plain(page.results.iter().map(line).collect()) } else { Answer::list(page) })
}

/// One account with all that an admin needs to know of it.
#[utoipa::path(get, path = "/billing/admin/accounts/{id}", tag = "billing administration", params(("id" = i64, Path)), responses((status = 200, body = Envelope<CustomerFile>), (status = 404, body = ErrorBody)), security(("bearer" = [])))]
async fn customer(State(state): State<AppState>, _: Operator, Now(now): Now, headers: HeaderMap, Path(id): Path<i64>) -> Outcome<Answer> {
    let file = service::open(&state.pool, AccountId(id), days(state.config.grace_days), instants(&state, now)).await?;
    Ok(if wants_text(&headers) { Answer::plain(lines(&file)) } else { Answer::ok(file) })
}

/// One account for a terminal.
fn line(customer: &Customer) -> String {
    let end = customer.current_period_end.map_or_else(|| "-".to_owned(), |end| end.format("%Y-%m-%d").to_string());
    let (id, slug, status, credits) = (customer.id, &customer.slug, customer.status, customer.credits.get());
    let (plan, owner) = (customer.plan.as_deref().unwrap_or("-"), customer.owner_email.as_deref().unwrap_or("-"));
    let owes = customer.open_invoice.as_deref().unwrap_or("");
    format!("{id:>8}  {slug:<24} {status:<16} {plan:<12} {credits:>10}  {end:<10}  {owner:<32} {owes}").trim_end().to_owned() + "\n"
}

/// All of one account for a terminal, a fact a line.
fn lines(file: &CustomerFile) -> String {
    let mut text = line(&file.customer);
    let mut tell = |name: &str, fact: String| text.push_str(&format!("  {name:<16} {fact}\n"));
    let balances = &file.balances;
    tell("credits", format!("{} of the period, {} extra", balances.plan_credits.get(), balances.extra_credits.get()));
    tell("money kept", balances.money.to_string());
    if let Some(subscription) = &file.subscription {
        tell("subscription", format!("{} until {}", subscription.status, subscription.current_period_end.format("%Y-%m-%d %H:%M")));
    }
    if let Some(invoice) = &file.invoice {
        let owed = format!("{} {} of {}, reference {}", invoice.outstanding, invoice.currency, invoice.number, invoice.reference);
        tell("owes", owed);
    }
    if let Some(overdue) = &file.overdue {
        tell("overdue", format!("{} {} for {} days", overdue.outstanding, overdue.currency, overdue.days));
    }
    for payment in &file.payments {
        let reference = &payment.external_payment_id;
        tell("payment", format!("{} {} {} {}, {reference}", payment.id, payment.amount, payment.currency, payment.status));
    }
    tell("sites, users", format!("{}, {}", file.sites, file.users));
    text
}
