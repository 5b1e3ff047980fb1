//! The account over HTTP: what it is, what it uses, how it ends.

use super::{
    life::{self, CancelWhen},
    model::{Account, AccountStatus},
    store::{self, Details},
};
use crate::{
    clock::Timestamp,
    credits::model::Metadata,
    period::days,
    request_body,
    state::AppState,
    subscriptions::{
        self,
        model::{ComingPlan, PeriodRecord, Subscription},
    },
    web::{
        caller::{Now, Owner, Source, Viewer},
        envelope::{Answer, Envelope},
        extract::{Body, Text},
        page::PageRequest,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(account)).routes(routes!(subscription))
}

/// How a customer ends it, whatever its state.
pub fn leaving() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(cancel)).routes(routes!(resume)).routes(routes!(delete))
}

/// What only a working account may do.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(change))
}

/// An account with its editable details and its use of the plan's limits.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountDetails {
    /// What every client knows of it.
    #[serde(flatten)]
    pub account: Account,
    /// Where invoices go.
    pub billing_email: Option<String>,
    /// What stands on invoices.
    #[schema(value_type = Object)]
    pub billing_address: Value,
    /// Use against the plan's limits.
    pub limits: Limits,
}

/// Use against the plan's limits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Live sites.
    pub sites: LimitUse,
    /// Live users.
    pub users: LimitUse,
}

/// How much of a limit is used.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitUse {
    /// So many there are.
    pub used: i64,
    /// So many there may be; null without a plan.
    pub limit: Option<i32>,
}

/// The account, its billing details and its use of the plan's limits.
#[utoipa::path(get, path = "/account", tag = "account", responses((status = 200, body = Envelope<AccountDetails>)), security(("bearer" = [])))]
async fn account(State(state): State<AppState>, Viewer(member): Viewer) -> Outcome<Answer> {
    Ok(Answer::ok(details_of(&state, member.account).await?))
}

async fn details_of(state: &AppState, account: Account) -> Outcome<AccountDetails> {
    let found = store::find_details(&state.pool, account.id).await?.ok_or_else(Problem::not_found)?;
    let plan = account.plan.as_ref();
    let limits = Limits {
        sites: LimitUse { used: found.sites, limit: plan.map(|plan| plan.max_sites) },
        users: LimitUse { used: found.users, limit: plan.map(|plan| plan.max_users) },
    };
    Ok(AccountDetails { limits, billing_email: found.details.billing_email, billing_address: found.details.billing_address, account })
}

/// The subscription now, and every period it ever had.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionHistory {
    /// Now.
    pub subscription: Option<Subscription>,
    /// The smaller plan that the account goes on with, while it is still to come.
    pub next_plan: Option<ComingPlan>,
    /// Newest first.
    pub periods: Vec<PeriodRecord>,
    /// How many periods there are in all; `page` leads to older ones.
    pub period_count: i64,
}

/// The subscription now, and its periods, newest first.
#[utoipa::path(get, path = "/account/subscription", tag = "account", params(PageRequest), responses((status = 200, body = Envelope<SubscriptionHistory>)), security(("bearer" = [])))]
async fn subscription(State(state): State<AppState>, Viewer(member): Viewer, Now(now): Now, page: PageRequest) -> Outcome<Answer> {
    let account = member.account.id;
    let periods = subscriptions::store::list_periods(&state.pool, account, page.page_size, page.offset()).await?;
    let period_count = subscriptions::store::count_periods(&state.pool, account).await?;
    let next_plan = subscriptions::store::find_coming_plan(&state.pool, account, now).await?;
    Ok(Answer::ok(SubscriptionHistory { subscription: member.account.subscription, next_plan, periods, period_count }))
}

request_body! { Ignored:
    /// What an owner may edit.
    pub struct AccountChange {
        /// Its name.
        name: Option<Text<120>>,
        /// Where invoices go.
        billing_email: Option<crate::auth::model::Email>,
        /// What stands on invoices: a small object of lines.
        #[schema(value_type = Option<Object>)]
        billing_address: Option<Metadata>,
    }
}

/// Edits name and billing details.
#[utoipa::path(patch, path = "/account", tag = "account", request_body = AccountChange, responses((status = 200, body = Envelope<AccountDetails>)), security(("bearer" = [])))]
async fn change(
    State(state): State<AppState>,
    Owner(member): Owner,
    Source(origin): Source,
    Now(now): Now,
    Body(body): Body<AccountChange>,
) -> Outcome<Answer> {
    let mut account = member.account;
    let before = store::find_details(&state.pool, account.id).await?.ok_or_else(Problem::not_found)?.details;
    let details = Details {
        name: body.name.map_or(before.name, |name| name.0),
        billing_email: body.billing_email.map(|email| email.as_str().to_owned()).or(before.billing_email),
        billing_address: body.billing_address.map_or(before.billing_address, |address| Value::Object(address.0)),
    };
    if details.billing_address.to_string().len() > 2_048 {
        return Err(Problem::invalid_field("billing_address", "Use at most 2,048 bytes."));
    }
    life::change(&state.pool, account.id, &details, &origin, now).await?;
    account.name = details.name;
    Ok(Answer::ok(details_of(&state, account).await?))
}

request_body! { Ignored:
    /// When the cancellation takes effect.
    pub struct CancelBody {
        /// True: what is paid is used up first. False or left out: at once.
        at_period_end: Option<bool>,
    }
}

/// How the account stands after it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    /// The account's state.
    pub status: AccountStatus,
    /// Whether it ends for good with its period.
    pub cancel_at_period_end: bool,
    /// When the present period ends.
    pub current_period_end: Option<DateTime<Utc>>,
}

/// Cancels at once, or at the period's end.
#[utoipa::path(post, path = "/account/cancel", tag = "account", request_body = CancelBody, responses((status = 200, body = Envelope<Standing>), (status = 409, body = ErrorBody, description = "illegal_move")), security(("bearer" = [])))]
async fn cancel(
    State(state): State<AppState>,
    Owner(member): Owner,
    Source(origin): Source,
    Now(now): Now,
    Body(body): Body<CancelBody>,
) -> Outcome<Answer> {
    let when = if body.at_period_end.unwrap_or(false) { CancelWhen::PeriodEnd } else { CancelWhen::Now };
    let status = life::cancel(&state.pool, member.account.id, when, days(state.config.grace_days), &origin, now).await?;
    let current_period_end = member.account.subscription.map(|subscription| subscription.current_period_end);
    Ok(Answer::ok(Standing {
        status,
        cancel_at_period_end: when == CancelWhen::PeriodEnd && status != AccountStatus::Cancelled,
        current_period_end,
    }))
}

/// Takes back a cancellation that has not taken effect.
#[utoipa::path(post, path = "/account/resume", tag = "account", responses((status = 200, body = Envelope<Standing>), (status = 409, body = ErrorBody, description = "nothing_to_resume")), security(("bearer" = [])))]
async fn resume(State(state): State<AppState>, Owner(member): Owner, Source(origin): Source, Now(now): Now) -> Outcome<Answer> {
    life::resume(&state.pool, member.account.id, days(state.config.grace_days), &origin, now).await?;
    let current_period_end = member.account.subscription.map(|subscription| subscription.current_period_end);
    Ok(Answer::ok(Standing { status: member.account.status, cancel_at_period_end: false, current_period_end }))
}

/// Until when a deleted account can come back.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// After this instant it is purged.
    #[schema(value_type = String, format = DateTime)]
    pub restore_until: Timestamp,
}

/// Deletes the account softly: nobody gets in any more, and for its retention time it can be taken back.
#[utoipa::path(delete, path = "/account", tag = "account", responses((status = 200, body = Envelope<Deleted>), (status = 409, body = ErrorBody, description = "system_account")), security(("bearer" = [])))]
async fn delete(State(state): State<AppState>, Owner(member): Owner, Source(origin): Source, Now(now): Now) -> Outcome<Answer> {
    let restore_until = life::delete(&state.pool, member.account.id, member.user, &origin, now).await?;
    Ok(Answer::ok(Deleted { restore_until })
        .message("The account is deleted; until then an owner can restore it with e-mail and password."))
}
