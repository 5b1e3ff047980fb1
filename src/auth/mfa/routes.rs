//! HTTP of second factors.

use super::{
    model::{Asker, Enrollment, FactorView, RecoveryCodes, SecondCode},
    service::{self, MfaError},
    store,
};
use crate::{
    auth::model::{Email, Password},
    ids::UserId,
    state::AppState,
    web::{
        caller::{Developer, Now, SignedIn, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path, Text},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// One's own second factor; codes are guessed strictly slowly.
pub fn own() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(enroll)).routes(routes!(activate)).routes(routes!(disable)).routes(routes!(renew_recovery_codes))
}

/// How one's own stands.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Another's, for developers.
pub fn administration() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reset))
}

crate::request_body! { Ignored:
    /// A wish for a second factor.
    pub struct EnrollBody {
        /// The present password.
        password: Password,
    }
}

crate::request_body! { Ignored:
    /// The proof that the app has the secret.
    pub struct ActivateBody {
        /// What the app shows.
        code: SecondCode,
    }
}

crate::request_body! { Ignored:
    /// The proof that it is you.
    pub struct ProofBody {
        /// The present password.
        password: Password,
        /// What the app shows, or a recovery code.
        code: SecondCode,
    }
}

crate::request_body! { Refused:
    /// Why somebody's second factor is taken away.
    pub struct ResetBody {
        /// For the log: how you know that it is he who asks.
        reason: Text<500>,
    }
}

fn asker(SignedIn(person): &SignedIn) -> Outcome<Asker> {
    // A stored address that can't be read would be ours to mend; nobody logs in with one.
    let email = Email::parse(&person.user.email).map_err(|_| Problem::internal("a stored address can't be read"))?;
    Ok(Asker { user: person.user.id, email, account: person.home })
}

/// Whether your second factor is on, and how many recovery codes you have left.
#[utoipa::path(get, path = "/auth/mfa", tag = "auth", security(("bearer" = [])), responses(
    (status = 200, body = Envelope<FactorView>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
))]
async fn show(State(state): State<AppState>, SignedIn(person): SignedIn) -> Outcome<Answer> {
    Ok(Answer::ok(store::find_view(&state.pool, person.user.id).await?.unwrap_or_default()))
}

/// Get a secret for your authenticator app. It is not asked for before you have activated it.
#[utoipa::path(post, path = "/auth/mfa/enroll", tag = "auth", request_body = EnrollBody, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Enrollment>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the password is wrong"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 409, body = ErrorBody, description = "mfa_already_active"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn enroll(State(state): State<AppState>, Now(now): Now, caller: SignedIn, Body(form): Body<EnrollBody>) -> Outcome<Answer> {
    let enrollment = service::enroll(state.desk(), &asker(&caller)?, &form.password, now).await?;
    Ok(Answer::ok(enrollment).message("Add it to your app, then activate it with the code that the app shows."))
}

/// Switch your second factor on by a code of your app. Answers your recovery codes, once.
#[utoipa::path(post, path = "/auth/mfa/activate", tag = "auth", request_body = ActivateBody, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<RecoveryCodes>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the code is wrong"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 409, body = ErrorBody, description = "mfa_already_active, mfa_not_active: enroll first"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn activate(
    State(state): State<AppState>,
    Now(now): Now,
    caller: SignedIn,
    Source(origin): Source,
    Body(form): Body<ActivateBody>,
) -> Outcome<Answer> {
    let codes = service::activate(state.desk(), &asker(&caller)?, &form.code, &origin, now).await?;
    Ok(Answer::ok(codes).message("Your second factor is on. Keep the recovery codes in a safe place; they are not shown again."))
}

/// Switch your second factor off.
#[utoipa::path(post, path = "/auth/mfa/disable", tag = "auth", request_body = ProofBody, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when password or code is wrong"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 409, body = ErrorBody, description = "mfa_not_active"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn disable(
    State(state): State<AppState>,
    Now(now): Now,
    caller: SignedIn,
    Source(origin): Source,
    Body(form): Body<ProofBody>,
) -> Outcome<Answer> {
    service::disable(state.desk(), &asker(&caller)?, (&form.password, &form.code), &origin, now).await?;
    Ok(Answer::ok(()).message("Your second factor is off."))
}

/// Get new recovery codes. Those you have stop working.
#[utoipa::path(post, path = "/auth/mfa/recovery-codes", tag = "auth", request_body = ProofBody, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<RecoveryCodes>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when password or code is wrong"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 409, body = ErrorBody, description = "mfa_not_active"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn renew_recovery_codes(
    State(state): State<AppState>,
    Now(now): Now,
    caller: SignedIn,
    Source(origin): Source,
    Body(form): Body<ProofBody>,
) -> Outcome<Answer> {
    let codes = service::renew_recovery_codes(state.desk(), &asker(&caller)?, (&form.password, &form.code), &origin, now).await?;
    Ok(Answer::ok(codes).message("Keep them in a safe place; they are not shown again."))
}

/// Takes the second factor of somebody away who has lost app and recovery codes, in the account that `X-Account-Id` names.
#[utoipa::path(post, path = "/auth/users/{id}/mfa/reset", tag = "people", request_body = ResetBody, params(("id" = UserId, Path, description = "The user.")), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "developer_required, mfa_enrollment_required, site_key_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 409, body = ErrorBody, description = "mfa_not_active"),
))]
async fn reset(
    State(state): State<AppState>,
    Now(now): Now,
    Developer(person): Developer,
    Source(origin): Source,
    Path(id): Path<UserId>,
    Body(form): Body<ResetBody>,
) -> Outcome<Answer> {
    let account = person.user.account.as_ref().map(|account| account.id).ok_or_else(Problem::not_found)?;
    // His own he switches off by a code, like everybody.
    let user = Some(id).filter(|id| *id != person.user.id).ok_or(MfaError::UnknownUser)?;
    service::reset(state.desk(), (account, user), &form.reason.0, &origin, now).await?;
    Ok(Answer::ok(()).message("The second factor is off; the user was told by mail."))
}
