//! The past over HTTP.

use super::{
    model::{Burndown, Days, Usage, UsageSummary},
    rules::{self, DAYS_MAX, DaysFault},
    store,
};
use crate::{
    request_body,
    state::AppState,
    web::{
        caller::{Now, Viewer},
        envelope::{Answer, Envelope},
        extract::Query,
        field::{Day, Whole},
        problem::{Outcome, Problem},
    },
};
use axum::extract::State;
use chrono::TimeDelta;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Days that the burn-down's average is taken over when nothing is asked.
const BURNDOWN_DAYS: i32 = 30;

/// What a suspended customer may still see.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(usage)).routes(routes!(usage_summary)).routes(routes!(burndown))
}

request_body! { Ignored:
    /// Which days to show, at most 366; days are days of UTC.
    pub struct DaysFilter {
        /// The first day; left out: thirty days with the last one.
        #[param(required = false, value_type = Option<String>, format = Date)]
        #[schema(value_type = Option<String>, format = Date)]
        from: Option<Day>,
        /// The last day, itself included; left out: today.
        #[param(required = false, value_type = Option<String>, format = Date)]
        #[schema(value_type = Option<String>, format = Date)]
        to: Option<Day>,
    }
}

impl DaysFilter {
    fn days(&self, now: Now) -> Outcome<Days> {
        Days::between(self.from.map(|day| day.0), self.to.map(|day| day.0), now.0).map_err(|fault| match fault {
            DaysFault::Backwards => Problem::invalid_field("from", "Give a day that is not after `to`."),
            DaysFault::TooMany => Problem::invalid_field("from", format!("Ask for at most {DAYS_MAX} days.")),
        })
    }
}

/// Credits used per day and operation.
#[utoipa::path(get, path = "/billing/credits/usage", tag = "credits", params(DaysFilter), responses((status = 200, body = Envelope<Usage>)), security(("bearer" = [])))]
async fn usage(State(state): State<AppState>, Viewer(member): Viewer, now: Now, Query(filter): Query<DaysFilter>) -> Outcome<Answer> {
    let days = filter.days(now)?;
    let pool = state.reads.pool().await;
    let (rows, _) = store::list_usage(pool, member.account.id, days).await?;
    Ok(Answer::ok(Usage { from: days.from, to: days.to, rows }))
}

/// Credits used in sums: in all, per operation and per day, days without use included.
#[utoipa::path(get, path = "/billing/credits/usage/summary", tag = "credits", params(DaysFilter), responses((status = 200, body = Envelope<UsageSummary>)), security(("bearer" = [])))]
async fn usage_summary(
    State(state): State<AppState>,
    Viewer(member): Viewer,
    now: Now,
    Query(filter): Query<DaysFilter>,
) -> Outcome<Answer> {
    let days = filter.days(now)?;
    let pool = state.reads.pool().await;
    let (rows, refunded) = store::list_usage(pool, member.account.id, days).await?;
    Ok(Answer::ok(rules::summary(days, &rows, refunded)))
}

request_body! { Ignored:
    /// What the average is taken over.
    pub struct BurndownFilter {
        /// So many days up to now, from 1 to 366; left out: 30.
        #[param(required = false, value_type = Option<i32>, minimum = 1, maximum = 366)]
        days: Option<Whole<1, 366>>,
    }
}

/// How fast credits go, the day on which they run out at that pace, and whether they last until the reset.
#[utoipa::path(get, path = "/billing/credits/burndown", tag = "credits", params(BurndownFilter), responses((status = 200, body = Envelope<Burndown>)), security(("bearer" = [])))]
async fn burndown(
    State(state): State<AppState>,
    Viewer(member): Viewer,
    Now(now): Now,
    Query(filter): Query<BurndownFilter>,
) -> Outcome<Answer> {
    let days = i64::from(filter.days.map_or(BURNDOWN_DAYS, |days| days.0));
    let account = member.account;
    let pool = state.reads.pool().await;
    let pace = store::get_pace(pool, account.id, now - TimeDelta::days(days)).await?;
    let resets_at = account.subscription.map(|subscription| subscription.current_period_end);
    Ok(Answer::ok(rules::burndown(days, pace, account.pools.available(), resets_at, now)))
}
