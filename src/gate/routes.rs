//! HTTP of letting people in, and of telling them who they are.

use super::{
    model::{User, Welcome},
    service::{self, Login},
};
use crate::{
    accounts::{invitations::rules::Acceptance, registration::Registration},
    audit::model::Origin,
    auth::{
        attempts::{
            self,
            model::{Attempt, Standing},
        },
        mfa::model::SecondCode,
        model::{Device, Email, Line, Password, Stay, Visit},
        passwords::NewPassword,
        recovery::{self, routes::AskReset},
        users::{model::ProfileChange, store::update_profile},
    },
    clock::Timestamp,
    ids::PaymentMethod,
    state::AppState,
    throttle::model::{Key, Scope},
    web::{
        caller::{Now, SignedIn, Source},
        envelope::{Answer, Envelope},
        extract::Body,
        pipeline::too_fast,
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Registration, login, and what else lets somebody in; attempts count strictly.
pub fn sign_in() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(restore))
        .routes(routes!(ask_reset))
        .routes(routes!(accept_invitation))
}

/// Who am I?
pub fn me() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_me, change_me))
}

crate::request_body! { Ignored:
    /// A registration.
    pub struct Register {
        /// The address, in any spelling.
        email: Email,
        /// 8 to 128 characters, not a common password, not the address.
        password: NewPassword,
        /// The same again.
        password_confirm: Option<Password>,
        /// Given name.
        first_name: Option<Line<150>>,
        /// Family name.
        last_name: Option<Line<150>>,
        /// A name for yourself; unset: what stands before the `@`.
        username: Option<Line<150>>,
        /// What the account is called; unset: after its owner.
        account_name: Option<Line<120>>,
        /// The plan in mind. A paid one comes back as `intended_plan`; every account starts on the trial.
        plan_slug: Option<Line<64>>,
        /// How you mean to pay for it.
        payment_method: Option<PaymentMethod>,
    }
}

crate::request_body! { Ignored:
    /// A login.
    pub struct LogIn {
        /// The address, in any spelling.
        email: Email,
        /// The password.
        password: Password,
        /// Stay signed in for twenty days instead of seven.
        remember_me: Option<bool>,
        /// What your authenticator app shows, or a recovery code, if you have switched your second factor on.
        code: Option<SecondCode>,
    }
}

crate::request_body! { Ignored:
    /// What to change of yourself; what is missing stays.
    pub struct ChangeMe {
        /// Given name; may be empty.
        first_name: Option<Line<150>>,
        /// Family name; may be empty.
        last_name: Option<Line<150>>,
        /// A name for yourself.
        username: Option<Line<150>>,
    }
}

/// Who you are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// You, with account, plan and subscription as they stand now.
    pub user: User,
}

impl Register {
    fn registration(self, device: Device) -> Registration {
        let text = |line: Option<Line<150>>| line.map(|line| line.0).unwrap_or_default();
        Registration {
            email: self.email,
            password: self.password,
            password_confirm: self.password_confirm,
            first_name: text(self.first_name),
            last_name: text(self.last_name),
            username: self.username.and_then(Line::filled),
            account_name: self.account_name.and_then(Line::filled),
            plan_slug: self.plan_slug.and_then(Line::filled),
            payment_method: self.payment_method,
            device,
        }
    }
}

/// Register an account with its owner. It starts on the trial, with the trial's credits.
#[utoipa::path(post, path = "/auth/register", tag = "auth", request_body = Register, responses(
    (status = 201, body = Envelope<Welcome>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 403, body = ErrorBody, description = "enterprise_requires_manual_assignment"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "no_signup_plan, try_again"),
))]
async fn register(
    State(state): State<AppState>,
    Now(now): Now,
    Source(origin): Source,
    headers: HeaderMap,
    Body(form): Body<Register>,
) -> Outcome<Answer> {
    count_address(&state, &form.email, now).await?;
    let registration = form.registration(device(&origin, &headers));
    let welcome = service::register(state.desk(), registration, &origin, now).await?;
    Ok(Answer::created(welcome).without_cookies())
}

/// Sign in with address and password.
#[utoipa::path(post, path = "/auth/login", tag = "auth", request_body = LogIn, responses(
    (status = 200, body = Envelope<Welcome>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "invalid_credentials, mfa_required, mfa_invalid"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn log_in(
    State(state): State<AppState>,
    Now(now): Now,
    Source(origin): Source,
    headers: HeaderMap,
    Body(form): Body<LogIn>,
) -> Outcome<Answer> {
    let attempt = attempt(&origin, &form.email);
    count_attempt(&state, &attempt, &form.email, now).await?;
    let stay = if form.remember_me.unwrap_or(false) { Stay::Remembered } else { Stay::Usual };
    let visit = Visit { stay, device: device(&origin, &headers) };
    let login = Login { email: form.email, password: form.password, code: form.code, visit, attempt };
    Ok(Answer::ok(service::log_in(state.desk(), &login, now).await?).without_cookies())
}

/// Who am I, and how does my account stand?
#[utoipa::path(get, path = "/auth/me", tag = "auth", security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Me>),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
))]
async fn show_me(SignedIn(person): SignedIn) -> Outcome<Answer> {
    Ok(Answer::ok(Me { user: person.user }))
}

/// Change your own names.
#[utoipa::path(patch, path = "/auth/me", tag = "auth", request_body = ChangeMe, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Me>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_invalid, token_expired, token_revoked"),
    (status = 403, body = ErrorBody, description = "session_not_allowed, site_key_not_allowed"),
))]
async fn change_me(
    State(state): State<AppState>,
    Now(now): Now,
    SignedIn(person): SignedIn,
    Body(form): Body<ChangeMe>,
) -> Outcome<Answer> {
    let text = |line: Option<Line<150>>| line.map(|line| line.0);
    let change = ProfileChange { first_name: text(form.first_name), last_name: text(form.last_name), username: text(form.username) };
    if change.username.as_deref() == Some("") {
        return Err(Problem::invalid_field("username", "This may not be empty."));
    }
    let changed = update_profile(&state.pool, person.user.id, &change, now).await?.ok_or_else(Problem::not_found)?;
    let (username, first_name, last_name) = changed;
    Ok(Answer::ok(Me { user: User { username, first_name, last_name, ..person.user } }))
}

/// Counts an attempt against the address that it is for, so that many clients together guess no faster than one.
async fn count_address(state: &AppState, email: &Email, now: Timestamp) -> Outcome<()> {
    let verdict = state.throttle.check(Scope::AuthStrict, 1, Key::email(email.as_str())).await;
    if verdict.retry_after.is_some() { Err(too_fast(Scope::AuthStrict, &verdict, now)) } else { Ok(()) }
}

/// The same for an attempt to log in, but where somebody has logged in before, he has a bucket of his own: nobody who tries
/// his e-mail address elsewhere empties it.
async fn count_attempt(state: &AppState, attempt: &Attempt, email: &Email, now: Timestamp) -> Outcome<()> {
    let key = match attempts::service::standing(&state.pool, attempt, now).await? {
        Standing::Known => Key::email(&format!("{:?}", attempt.pair)),
        Standing::Stranger => Key::email(email.as_str()),
    };
    let verdict = state.throttle.check(Scope::AuthStrict, 1, key).await;
    if verdict.retry_after.is_some() { Err(too_fast(Scope::AuthStrict, &verdict, now)) } else { Ok(()) }
}

fn attempt(origin: &Origin, email: &Email) -> Attempt {
    attempts::rules::attempt(origin.client_address.as_deref().unwrap_or(""), email)
}

fn device(origin: &Origin, headers: &HeaderMap) -> Device {
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    Device::new(origin.client_address.as_deref(), user_agent)
}

crate::request_body! { Ignored:
    /// Who takes his account back.
    pub struct RestoreBody {
        /// An owner's address.
        email: Email,
        /// His password.
        password: Password,
    }
}

/// Takes a deleted account back, by an owner's address and password: no token of a deleted account opens anything.
#[utoipa::path(post, path = "/account/restore", tag = "account", request_body = RestoreBody, responses(
    (status = 200, body = Envelope<Restored>),
    (status = 401, body = ErrorBody, description = "invalid_credentials"),
    (status = 404, body = ErrorBody, description = "not_found: the account is not deleted"),
    (status = 409, body = ErrorBody, description = "not_restorable, email_taken"),
))]
async fn restore(State(state): State<AppState>, Now(now): Now, Source(origin): Source, Body(body): Body<RestoreBody>) -> Outcome<Answer> {
    let attempt = attempt(&origin, &body.email);
    count_attempt(&state, &attempt, &body.email, now).await?;
    service::restore(state.desk(), (&body.email, &body.password, &attempt), &origin, now).await?;
    Ok(Answer::ok(Restored { restored: true }).message("The account is back; sign in."))
}

/// An account that is back.
#[derive(Debug, Serialize, ToSchema)]
pub struct Restored {
    /// Always true.
    pub restored: bool,
}

/// Get a mail with a token for another password, if the address is known. The answer is the same if it is not.
#[utoipa::path(post, path = "/auth/password-reset", tag = "auth", request_body = AskReset, responses(
    (status = 200, body = Envelope<Option<bool>>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn ask_reset(State(state): State<AppState>, Now(now): Now, Body(form): Body<AskReset>) -> Outcome<Answer> {
    count_address(&state, &form.email, now).await?;
    recovery::service::ask_reset(state.desk(), &form.email, now).await?;
    Ok(Answer::ok(()).message("If this address is known, a mail is on its way."))
}

crate::request_body! { Ignored:
    /// The acceptance of an invitation.
    pub struct AcceptInvitation {
        /// From the mail.
        token: Line<128>,
        /// 8 to 128 characters, not a common password, not the address.
        password: NewPassword,
        /// A name for yourself; unset: what stands before the `@`.
        username: Option<Line<150>>,
        /// Given name.
        first_name: Option<Line<150>>,
        /// Family name.
        last_name: Option<Line<150>>,
    }
}

impl AcceptInvitation {
    fn acceptance(self) -> Acceptance {
        let text = |line: Option<Line<150>>| line.map(|line| line.0).unwrap_or_default();
        Acceptance {
            token: self.token.0,
            password: self.password,
            username: self.username.and_then(Line::filled),
            first_name: text(self.first_name),
            last_name: text(self.last_name),
        }
    }
}

/// Accept an invitation by the token from the mail, and be signed in.
#[utoipa::path(post, path = "/auth/invitations/accept", tag = "people", request_body = AcceptInvitation, responses(
    (status = 201, body = Envelope<Welcome>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the invitation was used or has ended"),
    (status = 409, body = ErrorBody, description = "email_taken"),
    (status = 422, body = ErrorBody, description = "seat_limit_reached: the plan was changed meanwhile"),
    (status = 429, body = ErrorBody, description = "throttled"),
    (status = 503, body = ErrorBody, description = "try_again"),
))]
async fn accept_invitation(
    State(state): State<AppState>,
    Now(now): Now,
    Source(origin): Source,
    headers: HeaderMap,
    Body(form): Body<AcceptInvitation>,
) -> Outcome<Answer> {
    let device = device(&origin, &headers);
    let welcome = service::accept(state.desk(), form.acceptance(), (&device, &origin), now).await?;
    Ok(Answer::created(welcome).without_cookies())
}
