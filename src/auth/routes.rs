//! HTTP of tokens and sessions.

use super::{
    model::{Email, Password, SessionView, TokenPair},
    passwords::NewPassword,
    service::{self, PasswordChange},
    store,
};
use crate::{
    ids::SessionId,
    state::AppState,
    web::{
        caller::{Now, SignedIn, Source},
        envelope::{Answer, Envelope},
        extract::{Body, Path},
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
};
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// For everybody: what a refresh token is good for.
pub fn tokens() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(refresh)).routes(routes!(log_out))
}

/// For people who are signed in: their sessions and their password.
pub fn sessions() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(log_out_everywhere))
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
        .routes(routes!(change_password))
}

crate::request_body! { Ignored:
    /// A refresh token, to be exchanged.
    pub struct RefreshBody {
        /// The newest one.
        refresh: String,
    }
}

crate::request_body! { Ignored:
    /// What to sign out of.
    pub struct LogOutBody {
        /// Its session ends, if it is one of ours.
        refresh: Option<AnyText>,
    }
}

crate::request_body! { Ignored:
    /// Another password.
    pub struct ChangePassword {
        /// The present one.
        old_password: Password,
        /// The one from now on: 8 to 128 characters, not a common password, not the address.
        new_password: NewPassword,
    }
}

/// A text, or whatever was sent in its place: signing out never fails for its input.
#[derive(Debug, ToSchema)]
#[schema(value_type = String)]
pub struct AnyText(String);

impl<'de> Deserialize<'de> for AnyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(AnyText(value.as_str().unwrap_or("").to_owned()))
    }
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ended {
    /// That many.
    pub sessions_ended: u64,
}

/// Exchange a refresh token for a new pair. Each works once; a parallel tab has 30 seconds.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", request_body = RefreshBody, responses(
    (status = 200, body = Envelope<TokenPair>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "token_invalid, token_expired, token_revoked"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn refresh(State(state): State<AppState>, Now(now): Now, Source(origin): Source, Body(form): Body<RefreshBody>) -> Outcome<Answer> {
    let pair = service::refresh(state.desk(), &form.refresh, &origin, now).await?;
    Ok(Answer::ok(pair))
}

/// Sign out. Ends the session of the refresh token, and that of the access token where one is sent. Never fails for what is sent.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", request_body = LogOutBody, responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn log_out(State(state): State<AppState>, Now(now): Now, headers: HeaderMap, form: Outcome<Body<LogOutBody>>) -> Outcome<Answer> {
    let refresh = form.ok().and_then(|Body(form)| form.refresh).map(|refresh| refresh.0).unwrap_or_default();
    let access = state.authenticator.read_access(bearer(&headers), now).map(Arc::unwrap_or_clone);
    let tokens = [state.authenticator.read_refresh(&refresh, now), access].into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    service::log_out(&state.pool, &tokens, now).await?;
    Ok(Answer::ok(()).message("You are signed out.").without_cookies())
}

/// Sign out everywhere, here included.
#[utoipa::path(post, path = "/auth/logout-all", tag = "auth", security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Ended>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
))]
async fn log_out_everywhere(State(state): State<AppState>, Now(now): Now, SignedIn(person): SignedIn) -> Outcome<Answer> {
    let sessions_ended = service::log_out_everywhere(&state.pool, person.user.id, now).await?;
    Ok(Answer::ok(Ended { sessions_ended }).message("You are signed out everywhere.").without_cookies())
}

/// Where am I signed in?
#[utoipa::path(get, path = "/auth/sessions", tag = "auth", params(PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<SessionView>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
))]
async fn list_sessions(State(state): State<AppState>, Now(now): Now, SignedIn(person): SignedIn, page: PageRequest) -> Outcome<Answer> {
    let rows = (page.page_size, page.offset());
    let sessions = store::list_sessions(&state.pool, person.user.id, person.session, rows, now).await?;
    let count = store::count_sessions(&state.pool, person.user.id, now).await?;
    Ok(Answer::list(page.page(sessions, count)))
}

/// Sign out one of your other devices, or this one.
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "auth", params(("id" = SessionId, Path, description = "The session.")), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Ended>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 404, body = ErrorBody, description = "not_found"),
))]
async fn end_session(
    State(state): State<AppState>,
    Now(now): Now,
    SignedIn(person): SignedIn,
    Path(id): Path<SessionId>,
) -> Outcome<Answer> {
    service::end_session(&state.pool, person.user.id, id, now).await?;
    Ok(Answer::ok(Ended { sessions_ended: 1 }))
}

/// Change your password. Ends your other sessions.
#[utoipa::path(post, path = "/auth/change-password", tag = "auth", request_body = ChangePassword, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Ended>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn change_password(
    State(state): State<AppState>,
    Now(now): Now,
    SignedIn(person): SignedIn,
    Source(origin): Source,
    Body(form): Body<ChangePassword>,
) -> Outcome<Answer> {
    // A stored address that can't be read would be ours to mend; nobody logs in with one.
    let email = Email::parse(&person.user.email).map_err(|_| Problem::internal("a stored address can't be read"))?;
    let user = person.user.id;
    let change = PasswordChange { user, email, session: person.session, old: form.old_password, new: form.new_password };
    let sessions_ended = service::change_password(state.desk(), &change, &origin, now).await?;
    Ok(Answer::ok(Ended { sessions_ended }).message("Your password is changed; your other sessions are ended."))
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token.trim())
}
