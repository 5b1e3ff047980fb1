//! HTTP of tokens that come by mail.

use super::service;
use crate::{
    auth::{
        model::{Email, Line},
        passwords::NewPassword,
    },
    state::AppState,
    web::{
        caller::{Now, SignedIn, Source},
        envelope::{Answer, Envelope},
        extract::Body,
        problem::{ErrorBody, Outcome},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// For everybody: another password by a token. The wish for one is the gate's, which counts it by address too.
pub fn tokens() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(confirm_reset)).routes(routes!(verify_email))
}

/// For people who are signed in.
pub fn resending() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(resend_verification))
}

crate::request_body! { Ignored:
    /// A wish for another password.
    pub struct AskReset {
        /// The address, in any spelling.
        email: Email,
    }
}

crate::request_body! { Ignored:
    /// Another password, for the token that came by mail.
    pub struct ConfirmReset {
        /// From the mail.
        token: Line<128>,
        /// The one from now on: 8 to 128 characters, not a common password, not the address.
        new_password: NewPassword,
    }
}

crate::request_body! { Ignored:
    /// The proof of an address.
    pub struct VerifyEmail {
        /// From the mail.
        token: Line<128>,
    }
}

/// Set another password by the token from the mail. Ends all your sessions.
#[utoipa::path(post, path = "/auth/password-reset/confirm", tag = "auth", request_body = ConfirmReset, responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the token was used or has ended"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn confirm_reset(
    State(state): State<AppState>,
    Now(now): Now,
    Source(origin): Source,
    Body(form): Body<ConfirmReset>,
) -> Outcome<Answer> {
    service::reset(state.desk(), &form.token.0, &form.new_password, &origin, now).await?;
    Ok(Answer::ok(()).message("Your password is changed; sign in with it.").without_cookies())
}

/// Prove your address by the token from the mail.
#[utoipa::path(post, path = "/auth/verify-email", tag = "auth", request_body = VerifyEmail, responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the token was used or has ended"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn verify_email(
    State(state): State<AppState>,
    Now(now): Now,
    Source(origin): Source,
    Body(form): Body<VerifyEmail>,
) -> Outcome<Answer> {
    service::verify_email(&state.pool, &form.token.0, &origin, now).await?;
    Ok(Answer::ok(()).message("Your address is confirmed."))
}

/// Send the mail that proves your address once more.
#[utoipa::path(post, path = "/auth/verify-email/resend", tag = "auth", security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn resend_verification(State(state): State<AppState>, Now(now): Now, SignedIn(person): SignedIn) -> Outcome<Answer> {
    if person.user.email_verified {
        return Ok(Answer::ok(()).message("Your address is confirmed already."));
    }
    service::resend_verification(state.desk(), person.user.id, &person.user.email, now).await?;
    Ok(Answer::ok(()).message("The mail is on its way."))
}
