//! Going on with a smaller plan, over HTTP.

use super::{model::Downgrade, service};
use crate::{
    billing::model::Run,
    period::days,
    plans::model::Plan,
    request_body,
    state::AppState,
    web::{
        caller::{Now, Owner, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Text},
        problem::{ErrorBody, Outcome},
    },
};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What an owner decides about the plan after this period.
pub fn deciding() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(ask, cancel))
}

request_body! { Ignored:
    /// A smaller plan to go on with.
    pub struct DowngradeBody {
        /// starter, growth or scale.
        plan_slug: Text<64>,
        /// True: tells what would happen, and nothing is written.
        dry_run: Option<bool>,
    }
}

/// The plan that the account stays with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Staying {
    /// Its own.
    pub plan: Plan,
}

/// Goes on with a smaller plan when what is paid for ends. Tells what that has no room for; the newest sites and people above
/// its limits are frozen then: sites are read and not changed, people read and change nothing; none is deleted.
#[utoipa::path(post, path = "/account/downgrade", tag = "account", request_body = DowngradeBody, responses((status = 200, body = Envelope<Downgrade>), (status = 403, body = ErrorBody, description = "enterprise_requires_manual_assignment"), (status = 409, body = ErrorBody, description = "no_paid_period, downgrade_paid, system_account"), (status = 422, body = ErrorBody, description = "not_a_smaller_plan, plan_not_payable")), security(("bearer" = [])))]
async fn ask(
    State(state): State<AppState>,
    Owner(member): Owner,
    Source(origin): Source,
    Now(now): Now,
    Body(body): Body<DowngradeBody>,
) -> Outcome<Answer> {
    let wanted = (body.plan_slug.0.as_str(), Run::of(body.dry_run));
    let downgrade = service::ask(&state.pool, member.account.id, wanted, days(state.config.grace_days), &origin, now).await?;
    let from = downgrade.takes_effect_at.format("%Y-%m-%d");
    let (plan, exceeds) = (&downgrade.plan.name, &downgrade.exceeds);
    let sentence =
        format!("{plan} from {from} on; {} site(s) and {} user(s) would be frozen then.", exceeds.sites.len(), exceeds.users.len());
    Ok(Answer::ok(downgrade).message(sentence))
}

/// Takes that back while it has not begun and is not paid for.
#[utoipa::path(delete, path = "/account/downgrade", tag = "account", responses((status = 200, body = Envelope<Staying>), (status = 409, body = ErrorBody, description = "no_downgrade_pending, downgrade_paid, system_account")), security(("bearer" = [])))]
async fn cancel(State(state): State<AppState>, Owner(member): Owner, Source(origin): Source, Now(now): Now) -> Outcome<Answer> {
    let plan = service::cancel(&state.pool, member.account.id, days(state.config.grace_days), &origin, now).await?;
    Ok(Answer::ok(Staying { plan }))
}
