//! HTTP of another e-mail address.

use super::service::{self, AddressChange};
use crate::{
    auth::model::{Email, Line, Password},
    state::AppState,
    web::{
        caller::{Now, SignedIn, Source},
        envelope::{Answer, Envelope},
        extract::Body,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// For people who are signed in.
pub fn asking() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(ask))
}

/// For everybody who holds a token.
pub fn confirming() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(confirm))
}

crate::request_body! { Ignored:
    /// A wish for another address.
    pub struct ChangeEmail {
        /// The one from its confirmation on.
        new_email: Email,
        /// The present password.
        password: Password,
    }
}

crate::request_body! { Ignored:
    /// The proof of the new address.
    pub struct ConfirmEmail {
        /// From the mail.
        token: Line<128>,
    }
}

/// Change your e-mail address. A mail goes to the new one; nothing changes before you follow it.
#[utoipa::path(post, path = "/auth/change-email", tag = "auth", request_body = ChangeEmail, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the password is wrong"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn ask(State(state): State<AppState>, Now(now): Now, SignedIn(person): SignedIn, Body(form): Body<ChangeEmail>) -> Outcome<Answer> {
    // A stored address that can't be read would be ours to mend; nobody logs in with one.
    let present = Email::parse(&person.user.email).map_err(|_| Problem::internal("a stored address can't be read"))?;
    let change = AddressChange { user: person.user.id, present, new: form.new_email, password: form.password };
    service::ask(state.desk(), &change, now).await?;
    Ok(Answer::ok(()).message("A mail is on its way to the new address; follow it to change yours."))
}

/// Prove your new address by the token from the mail: it is yours from now on. You stay signed in.
#[utoipa::path(post, path = "/auth/change-email/confirm", tag = "auth", request_body = ConfirmEmail, responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the token was used or has ended"),
    (status = 409, body = ErrorBody, description = "email_taken"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn confirm(State(state): State<AppState>, Now(now): Now, Source(origin): Source, Body(form): Body<ConfirmEmail>) -> Outcome<Answer> {
    service::change(state.desk(), &form.token.0, &origin, now).await?;
    Ok(Answer::ok(()).message("Your address is changed; sign in with it from now on."))
}
