//! Ways to pay over HTTP: for the customer, and for the developer who sets them.

use super::{
    model::{MethodSettings, PaymentOption},
    rules,
    service::{self, Edit},
    store,
};
use crate::{
    credits::model::Metadata,
    ids::PaymentMethod,
    request_body,
    state::AppState,
    web::{
        caller::{Admin, Developer, Now, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a customer sees, whatever his account's state.
pub fn paying() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(available))
}

/// What developers set.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(change))
}

/// The ways to pay that are on offer, with the bank details of the account's billing country.
#[utoipa::path(get, path = "/billing/payment-methods/available", tag = "billing", responses((status = 200, body = Envelope<Vec<PaymentOption>>)), security(("bearer" = [])))]
async fn available(State(state): State<AppState>, Admin(member): Admin) -> Outcome<Answer> {
    let mut connection = state.pool.acquire().await.map_err(crate::db::StoreError::from)?;
    Ok(Answer::ok(service::offered_in(&mut connection, member.account.id).await?))
}

/// Every way to pay with its bank details by country. Developers only.
#[utoipa::path(get, path = "/billing/admin/payment-methods", tag = "billing administration", responses((status = 200, body = Envelope<Vec<MethodSettings>>)), security(("bearer" = [])))]
async fn list(State(state): State<AppState>, _: Developer) -> Outcome<Answer> {
    let mut connection = state.pool.acquire().await.map_err(crate::db::StoreError::from)?;
    Ok(Answer::ok(store::list_settings(&mut connection).await?))
}

request_body! { Refused:
    /// What of a way to pay is to be another. What is left out stays.
    pub struct MethodBody {
        /// Two letters, or EU for every country whose money is the euro; left out: for everybody who has nothing of his own.
        country: Option<Text<2>>,
        /// Its name, in all countries.
        name: Option<Text<100>>,
        /// Where the money goes: bank_name, account_title, account_number, iban, swift …, each a text.
        #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
        details: Option<Metadata>,
        /// What the customer is to do.
        instructions: Option<Text<1000>>,
        /// Whether it is on offer, in all countries.
        is_active: Option<bool>,
        /// Goes into the log.
        reason: Text<1000>,
    }
}

impl MethodBody {
    fn into_edit(self) -> Outcome<Edit> {
        let mut problem = Problem::invalid();
        let country = self.country.map(|country| rules::read_country(&country.0));
        if country == Some(None) {
            problem.field("country", "Give two letters such as GB.");
        }
        let details = self.details.map(|details| details.value());
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= 100);
        if details.iter().filter_map(Value::as_object).flatten().any(|(name, value)| name.len() > 40 || !is_text(value)) {
            problem.field("details", "Give texts of 1 to 100 characters under names of at most 40.");
        }
        let (name, instructions) = (self.name.map(|name| name.0), self.instructions.map(|text| text.0));
        problem.or(Edit { country: country.flatten(), name, details, instructions, is_active: self.is_active, reason: self.reason.0 })
    }
}

/// Changes a way to pay, for one country's customers or for all who have nothing of their own. Developers only. Invoices keep
/// what was printed on them.
#[utoipa::path(patch, path = "/billing/admin/payment-methods/{method}", tag = "billing administration", request_body = MethodBody, params(("method" = PaymentMethod, Path)), responses((status = 200, body = Envelope<MethodSettings>), (status = 404, body = ErrorBody)), security(("bearer" = [])))]
async fn change(
    State(state): State<AppState>,
    _: Developer,
    Source(origin): Source,
    Now(now): Now,
    Path(method): Path<PaymentMethod>,
    Body(body): Body<MethodBody>,
) -> Outcome<Answer> {
    Ok(Answer::ok(service::change(&state.pool, method, &body.into_edit()?, &origin, now).await?))
}
