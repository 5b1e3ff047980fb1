//! Every error that a client can see: status, code and one sentence that says what to do next. The internal text goes to
//! the log once, here at the edge.

use crate::{
    accounts::{
        invitations::service::{AcceptanceError, InvitationError},
        life::AccountError,
        people::{
            rules::{Forbidden, SeatLimitReached},
            service::PeopleError,
        },
        registration::Fault,
        service::RegistrationError,
    },
    auth::{
        addresses::service::AddressError,
        mfa::service::MfaError,
        passwords::{PASSWORD_CHARS_MAX, PasswordFault},
        recovery::service::RecoveryError,
        service::{HashingError, LoginError, NotSigned, PasswordChangeError, SessionError, TokenRefused},
    },
    billing::{
        approvals::rules::NotApproved,
        balance::service::BalanceError,
        downgrades::model::DowngradeRefused,
        methods::service::MethodError,
        model::Payee,
        payments::{rules::PENDING_MAX, service::told},
        rules::Unpayable,
        service::BillingError,
        statements::service::StatementError,
        trials::rules::NotExtended,
    },
    credits::{
        holds::rules::{HoldRefused, OPEN_MAX},
        pricing::service::PriceError,
        refunds::rules::RefundRefused,
        rules::MoveRefused,
        service::CreditError,
    },
    db::StoreError,
    gate::{
        rules::{Refusal, ScopeMissing},
        service::{KeyRefused, NotAdmitted, RestoreError},
    },
    idempotency::service::KeyError,
    plans::{rules::EditRefused, service::PlanError},
    sites::{
        clones::model::OtherHome, events::service::EventError, rules::LimitReached, sectors::rules::SectorLimitReached, service::SiteError,
    },
    system::service::NotReady,
};
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An error on its way to the client. Boxed, because every handler's result carries it.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    status: StatusCode,
    code: &'static str,
    sentence: String,
    fields: BTreeMap<String, Vec<String>>,
    facts: Map<String, Value>,
    headers: HeaderMap,
}

/// What a handler gives.
pub type Outcome<T> = Result<T, Problem>;

impl Problem {
    /// An error with its status, its code and a sentence that says what to do next.
    pub fn new(status: StatusCode, code: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Problem(Box::new(Details { status, code, sentence, fields: BTreeMap::new(), facts: Map::new(), headers: HeaderMap::new() }))
    }

    /// 400 for input whose failing fields are still to be named.
    pub fn invalid() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_input", "Correct the fields named in errors.")
    }

    /// 400 for one field.
    pub fn invalid_field(name: &str, sentence: impl Into<String>) -> Self {
        Self::invalid().with_field(name, sentence)
    }

    /// 404, alike for what is absent and what is another tenant's.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here; check the address and the id.")
    }

    /// 403: the plan has no room for the site.
    fn site_frozen() -> Self {
        Self::forbidden(
            "site_frozen",
            "Your plan has no room for this site, which can only be read; delete another or choose a larger plan.",
        )
    }

    /// 500. The reason goes to the log; the client learns the request id.
    pub fn internal(reason: &str) -> Self {
        tracing::error!(reason, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something failed on our side; try again, and tell us the request id if it stays.",
        )
    }

    /// 503 with `Retry-After`.
    pub fn busy(code: &'static str, sentence: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, sentence).header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 401 with `WWW-Authenticate: Bearer`.
    pub fn unauthenticated(code: &'static str, sentence: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, sentence).header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403.
    pub fn forbidden(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, sentence)
    }

    /// 409.
    pub fn conflict(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, sentence)
    }

    /// 422.
    pub fn refused(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, sentence)
    }

    /// Adds a failing field.
    pub fn field(&mut self, name: &str, sentence: impl Into<String>) {
        self.0.fields.entry(name.to_owned()).or_default().push(sentence.into());
    }

    /// Adds a failing field.
    pub fn with_field(mut self, name: &str, sentence: impl Into<String>) -> Self {
        self.field(name, sentence);
        self
    }

    /// Adds a member beside `error` and `code`: what a program needs to act on it.
    pub fn fact(mut self, name: &str, value: impl Serialize) -> Self {
        self.0.facts.insert(name.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// Gives the value when no field failed.
    pub fn or<T>(self, value: T) -> Outcome<T> {
        if self.0.fields.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The code, for the log.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence.
    pub fn sentence(&self) -> &str {
        &self.0.sentence
    }

    /// Names of the failing fields, sorted.
    pub fn field_names(&self) -> Vec<&str> {
        self.0.fields.keys().map(String::as_str).collect()
    }

    /// The error that wears no envelope yet: what the router itself answers with a bare status.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        let (code, sentence) = match status {
            StatusCode::NOT_FOUND => return Some(Self::not_found()),
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "This address does not take that method; see Allow."),
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "The body is too large."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "Send application/json or application/x-www-form-urlencoded."),
            StatusCode::INTERNAL_SERVER_ERROR => return Some(Self::internal("a bare 500")),
            StatusCode::URI_TOO_LONG => ("uri_too_long", "The address is too long."),
            status if status.is_client_error() => ("bad_request", "The request could not be read."),
            _ => return None,
        };
        Some(Self::new(status, code, sentence))
    }

    /// The body: our envelope, or RFC 9457 where the client asked for it.
    pub fn body(&self, request_id: &str, shape: Shape) -> (HeaderValue, String) {
        let mut body = Map::new();
        let content_type = match shape {
            Shape::Envelope => {
                body.insert("success".to_owned(), Value::Bool(false));
                body.insert("error".to_owned(), Value::from(self.0.sentence.as_str()));
                "application/json"
            }
            Shape::ProblemJson => {
                body.insert("type".to_owned(), Value::from("about:blank"));
                body.insert("title".to_owned(), Value::from(self.0.status.canonical_reason().unwrap_or("Error")));
                body.insert("status".to_owned(), Value::from(self.0.status.as_u16()));
                body.insert("detail".to_owned(), Value::from(self.0.sentence.as_str()));
                "application/problem+json"
            }
        };
        body.insert("code".to_owned(), Value::from(self.0.code));
        if !self.0.fields.is_empty() {
            body.insert("errors".to_owned(), serde_json::json!(self.0.fields));
        }
        body.extend(self.0.facts.clone());
        body.insert("request_id".to_owned(), Value::from(request_id));
        (HeaderValue::from_static(content_type), Value::Object(body).to_string())
    }
}

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"success": false, …}`.
    Envelope,
    /// RFC 9457.
    ProblemJson,
}

impl IntoResponse for Problem {
    /// A response without a body: the shell writes it, for it knows the request id and what the client accepts.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.headers_mut().extend(self.0.headers.clone());
        response.extensions_mut().insert(self);
        response
    }
}

/// The document's picture of an error.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// Always false.
    #[schema(example = false)]
    pub success: bool,
    /// One plain sentence that says what to do next.
    pub error: String,
    /// A word for programs.
    #[schema(example = "invalid_input")]
    pub code: String,
    /// Every failing field with its sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<BTreeMap<String, Vec<String>>>,
    /// The same as in `X-Request-Id`.
    pub request_id: String,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        match error {
            StoreError::Busy(_) | StoreError::Collision(_) => {
                tracing::warn!(reason = text, "database busy");
                Self::busy("try_again", "The server is busy; try again in a moment.")
            }
            StoreError::Constraint(_) | StoreError::Broken(_) => Self::internal(&text),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoAccount => Self::forbidden("no_account", "This user belongs to no account; ask for an invitation."),
            Refusal::Suspended => {
                Self::forbidden("account_suspended", "This account is suspended; pay the open invoice or contact support.")
            }
            Refusal::Cancelled => Self::forbidden("account_cancelled", "This account is cancelled; choose a plan to return."),
            Refusal::NoPlan => Self::new(StatusCode::PAYMENT_REQUIRED, "no_plan", "This account has no plan; choose one."),
            Refusal::PlanInactive => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "plan_inactive", "This account's plan is no longer offered; choose another.")
            }
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::Account(refusal) => refusal.into(),
            NotAdmitted::HomeChanged(OtherHome { registered_url, home_url }) => {
                let sentence =
                    "This site runs at another address than the registered one and may only read; an owner decides in the dashboard.";
                Self::conflict("site_url_changed", sentence).fact("registered_url", registered_url).fact("home_url", home_url)
            }
            NotAdmitted::SiteFrozen => Self::site_frozen(),
            NotAdmitted::SeatFrozen => Self::forbidden(
                "seat_frozen",
                "The account's plan has no seat for you, and you may only read; ask its owner to remove somebody or choose a larger plan.",
            ),
            NotAdmitted::SiteInactive => Self::forbidden("site_inactive", "This site is switched off; switch it on in the dashboard."),
        }
    }
}

impl From<ScopeMissing> for Problem {
    fn from(ScopeMissing(scope): ScopeMissing) -> Self {
        let sentence = format!("This API key lacks the scope '{scope}'; create one that has it in the dashboard.");
        Self::forbidden("key_scope_missing", sentence).fact("scope", scope)
    }
}

impl From<KeyRefused> for Problem {
    fn from(refused: KeyRefused) -> Self {
        match refused {
            KeyRefused::Unknown => {
                Self::unauthenticated("key_unknown", "This API key is not known; copy it again or create a new one in the dashboard.")
            }
            KeyRefused::Revoked => Self::unauthenticated("key_revoked", "This API key was revoked; create a new one in the dashboard."),
            KeyRefused::Store(error) => error.into(),
        }
    }
}

impl From<TokenRefused> for Problem {
    fn from(refused: TokenRefused) -> Self {
        match refused {
            TokenRefused::Invalid => Self::unauthenticated("token_invalid", "This token is invalid; sign in again."),
            TokenRefused::Expired => Self::unauthenticated("token_expired", "This token has expired; refresh it or sign in again."),
            TokenRefused::Revoked => Self::unauthenticated("token_revoked", "This session is over; sign in again."),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Reused => Self::conflict("idempotency_key_reused", "This Idempotency-Key was used with other input; send a new key."),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<CreditError> for Problem {
    fn from(error: CreditError) -> Self {
        match error {
            CreditError::Refused(MoveRefused::Insufficient { required, available }) => {
                let sentence = format!("This needs {required} credits and {available} are available; upgrade or wait for the next period.");
                Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", sentence)
                    .fact("required", required)
                    .fact("available", available)
            }
            CreditError::Refused(MoveRefused::OutOfRange) | CreditError::NotRefundable(RefundRefused::OutOfRange) => {
                Self::refused("credits_out_of_range", "An account can hold at most 1,000,000,000,000 credits.")
            }
            CreditError::TooManyLots => Self::refused(
                "lot_limit_reached",
                "This account has extra credits of too many different expiries; give these another's, or none.",
            ),
            CreditError::KeyReused => KeyError::Reused.into(),
            CreditError::NotRefundable(RefundRefused::NotADeduction) => {
                Self::refused("not_refundable", "Only deductions can be refunded; adjust the credits instead.")
            }
            CreditError::NotRefundable(RefundRefused::TooMuch { refundable }) => {
                let sentence = format!("Only {refundable} credits of this deduction are left to refund; ask for no more.");
                Self::refused("refund_too_large", sentence).fact("refundable", refundable)
            }
            CreditError::Hold(refused) => refused.into(),
            CreditError::NoBalance | CreditError::NoEntry => Self::not_found(),
            CreditError::NotAdmitted => Refusal::Suspended.into(),
            CreditError::Unproven => Self::internal("a spend on trust was not proven before it was answered"),
            CreditError::Busy => Self::busy("try_again", "The ledger is busy; try again in a moment, with the same Idempotency-Key."),
            CreditError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => Self::not_found(),
            AccountError::System => {
                Self::conflict("system_account", "A system account can't be suspended, cancelled or deleted, and buys nothing.")
            }
            AccountError::Illegal(illegal) => {
                Self::conflict("illegal_move", format!("This account is {}; that can't be done to it now.", illegal.from))
            }
            AccountError::NotCancelling => Self::conflict("nothing_to_resume", "No cancellation is pending; choose a plan to return."),
            AccountError::PeriodOver => Self::conflict("period_over", "Its period is over; confirm a payment or set a plan instead."),
            AccountError::NotRestorable => Self::conflict("not_restorable", "This account can't be restored any more; contact support."),
            AccountError::EmailTaken => {
                Self::conflict("email_taken", "Another user has one of its people's addresses by now; contact support.")
            }
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<BillingError> for Problem {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::Unpayable(reason) => reason.into(),
            BillingError::UnknownPlan => Self::invalid_field("plan_slug", "There is no such plan; see auth/plans/."),
            BillingError::MethodNotOffered => {
                Self::invalid_field("payment_method", "This is not offered; see billing/payment-methods/available/.")
            }
            BillingError::NotFound => Self::not_found(),
            BillingError::Report(faults) => {
                faults.iter().map(told).fold(Self::invalid(), |problem, (field, sentence)| problem.with_field(field, sentence))
            }
            BillingError::AlreadyReported(status) => {
                Self::conflict("already_reported", format!("This reference is known already; see its payment, which is {status}."))
                    .fact("state", status)
            }
            BillingError::TooManyReports => {
                Self::refused("too_many_reports", "Too many of your reports are waiting for us; we answer them first.")
                    .fact("limit", PENDING_MAX)
            }
            BillingError::InvoiceNotOpen(status) => {
                Self::conflict("invoice_not_open", format!("This invoice is {status}; look at the list for an open one."))
                    .fact("state", status)
            }
            BillingError::PaymentNotPending(status) => {
                Self::conflict("payment_not_pending", format!("This payment is {status} already; look at it before you go on."))
                    .fact("state", status)
            }
            BillingError::LaterTransfer(reference) => {
                Self::conflict("later_transfer", format!("A later period stands on this one; reverse {reference} first."))
                    .fact("external_payment_id", reference)
            }
            BillingError::NoPayee(payee) => no_payee(&payee),
            BillingError::NeedsApproval(_) => Self::internal("an order above the threshold was not asked for"),
            BillingError::NotApproved(NotApproved::NotPending(status)) => {
                Self::conflict("approval_not_pending", format!("This order is {status}; look at it, and ask anew if it is still wanted."))
                    .fact("state", status)
            }
            BillingError::NotApproved(NotApproved::Own) => {
                Self::forbidden("own_approval", "You asked for this yourself; another billing admin must approve it.")
            }
            BillingError::NotApproved(NotApproved::NotDeveloper) => {
                Self::forbidden("developer_required", "Plans are set by developers only; ask one to approve this.")
            }
            BillingError::NotExtended(NotExtended::NotOnTrial) => {
                Self::conflict("not_on_trial", "No trial is running here; set a plan or confirm a payment instead.")
            }
            BillingError::NotExtended(NotExtended::TooLong { days_left }) => {
                let sentence = format!("This trial can be at most {days_left} days longer; ask for fewer, or set a plan.");
                Self::refused("trial_too_long", sentence).fact("days_left", days_left)
            }
            BillingError::Downgrade(error) => error.into(),
            BillingError::Balance(error) => error.into(),
            BillingError::Account(error) => error.into(),
            BillingError::Credits(error) => error.into(),
            BillingError::Key(error) => error.into(),
            BillingError::Store(error) => error.into(),
        }
    }
}

impl From<MethodError> for Problem {
    fn from(error: MethodError) -> Self {
        match error {
            MethodError::NotFound => Self::not_found(),
            MethodError::Store(error) => error.into(),
        }
    }
}

impl From<BalanceError> for Problem {
    fn from(error: BalanceError) -> Self {
        match error {
            BalanceError::Used => {
                Self::conflict("money_used", "A later invoice has taken a part of this money; reverse that one's transfer first.")
            }
            BalanceError::OutOfRange => Self::invalid_field("amount", "This is more than an account can keep; correct the amount."),
            BalanceError::Store(error) => error.into(),
        }
    }
}

impl From<Unpayable> for Problem {
    fn from(reason: Unpayable) -> Self {
        match reason {
            Unpayable::Manual => {
                Self::forbidden("enterprise_requires_manual_assignment", "The enterprise plan is assigned by our staff only; contact us.")
            }
            Unpayable::ManualByTransfer => Self::refused(
                "enterprise_requires_manual_assignment",
                "Enterprise can't be paid for by transfer; a developer sets it by hand.",
            ),
            Unpayable::Free => Self::refused("plan_not_payable", "This plan costs nothing and can't be paid for; choose a paid one."),
            Unpayable::Inactive => Self::refused("plan_not_payable", "This plan is no longer offered; choose another."),
            Unpayable::NoPlan => Self::refused("no_payable_plan", "There is no open invoice and no paid plan; name the plan in plan_slug."),
            Unpayable::AmountMismatch { expected, given } => {
                let sentence = format!(
                    "{expected} is owed and {given} was given; correct it, or send partial, or accept_amount_mismatch with a reason."
                );
                Self::refused("amount_mismatch", sentence).fact("expected", expected).fact("given", given)
            }
            Unpayable::CurrencyMismatch { expected, given } => {
                let sentence = format!("{expected} is owed and {given} was given; convert the transfer first.");
                Self::refused("currency_mismatch", sentence).fact("expected", expected).fact("given", given)
            }
            Unpayable::Conflict => {
                Self::conflict("transfer_conflict", "This reference was confirmed before with other content; look at the payment.")
            }
        }
    }
}

impl From<HashingError> for Problem {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::busy("try_again", "Too many sign-ins at once; try again in a moment."),
            HashingError::Failed => Self::internal("a password could not be hashed or compared"),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Token(refused) => refused.into(),
            SessionError::Unknown => Self::not_found(),
            SessionError::Signing(NotSigned) => Self::internal("a token could not be signed"),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::InvalidCredentials | LoginError::Changed => {
                Self::unauthenticated("invalid_credentials", "Email or password is wrong; try again or reset the password.")
            }
            LoginError::TooSoon(seconds) => {
                let sentence = format!("Too many failed attempts; try again in {seconds} s.");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "throttled", sentence).header(header::RETRY_AFTER, HeaderValue::from(seconds))
            }
            LoginError::CodeMissing => {
                Self::unauthenticated("mfa_required", "Enter the code of your authenticator app, or a recovery code, as well.")
            }
            LoginError::CodeWrong => {
                Self::unauthenticated("mfa_invalid", "This code is wrong or was used; wait for the next one and try again.")
            }
            LoginError::SecondFactor(error) => error.into(),
            LoginError::Hashing(error) => error.into(),
            LoginError::Session(error) => error.into(),
        }
    }
}

impl From<PasswordChangeError> for Problem {
    fn from(error: PasswordChangeError) -> Self {
        match error {
            PasswordChangeError::WrongPassword => Self::invalid_field("old_password", "This is not your present password."),
            PasswordChangeError::Fault(fault) => Self::invalid_field("new_password", password_sentence(fault)),
            PasswordChangeError::Hashing(error) => error.into(),
            PasswordChangeError::Store(error) => error.into(),
        }
    }
}

impl From<RegistrationError> for Problem {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Invalid(faults) => {
                faults.into_iter().fold(Self::invalid(), |problem, fault| problem.with_field(fault.field(), fault_sentence(fault)))
            }
            RegistrationError::ManualPlan => Self::forbidden(
                "enterprise_requires_manual_assignment",
                "This plan is assigned by our staff; register without it and contact us.",
            ),
            RegistrationError::NoSignupPlan => {
                tracing::error!("no plan can be assigned at signup: activate free-trial or free");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_signup_plan", "Registration is closed for the moment; contact support.")
                    .header(header::RETRY_AFTER, HeaderValue::from_static("300"))
            }
            RegistrationError::Hashing(error) => error.into(),
            RegistrationError::Session(error) => error.into(),
            RegistrationError::Incomplete => Self::internal("a registration could not be completed"),
            RegistrationError::Store(error) => error.into(),
        }
    }
}

fn fault_sentence(fault: Fault) -> String {
    match fault {
        Fault::Password(fault) => password_sentence(fault),
        Fault::PasswordsDiffer => "The two passwords differ.".to_owned(),
        Fault::ReservedName => "This name is reserved; choose another.".to_owned(),
        Fault::EmailTaken => "A user with this email already exists.".to_owned(),
        Fault::EmailMalformed => "Enter a valid email address.".to_owned(),
        Fault::UnknownPlan => "There is no such plan; leave it out or choose another.".to_owned(),
    }
}

fn password_sentence(fault: PasswordFault) -> String {
    match fault {
        PasswordFault::TooShort(chars_min) => format!("Use at least {chars_min} characters."),
        PasswordFault::TooLong => format!("Use at most {PASSWORD_CHARS_MAX} characters."),
        PasswordFault::Common => "This password is too common, choose another.".to_owned(),
        PasswordFault::IsEmail => "Do not use your email address as password.".to_owned(),
    }
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::NotFound => Self::not_found(),
            PlanError::Refused(EditRefused::PriceMissing) => {
                Self::refused("plan_price_required", "This plan is assigned by payment; give it a price above zero.")
            }
            PlanError::Refused(EditRefused::PriceUnpayable) => {
                Self::refused("plan_price_refused", "This plan is not assigned by payment; leave its price at zero.")
            }
            PlanError::Refused(EditRefused::Credits(error)) => Self::invalid_field("credits_per_month", format!("{error}.")),
            PlanError::Store(error) => error.into(),
        }
    }
}

impl From<SiteError> for Problem {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::NotFound => Self::not_found(),
            SiteError::LimitReached(LimitReached { limit, used }) => {
                let sentence = format!("Your plan allows {limit} site(s) and you have {used}; delete one or choose a larger plan.");
                Self::refused("site_limit_reached", sentence).fact("limit", limit).fact("used", used)
            }
            SiteError::Frozen => Self::site_frozen(),
            SiteError::SlugTaken => Self::invalid_field("slug", "Another site of this account has this slug; choose another."),
            SiteError::SlugTakenMeanwhile => {
                Self::conflict("slug_taken", "Another site has this site's slug by now; delete that one first.")
            }
            SiteError::UnknownIndustry => Self::invalid_field("industry", "There is no such industry; see auth/industries/."),
            SiteError::UnknownSector => {
                Self::invalid_field("sector", "The site's industry has no such sector; see auth/industries/, or send a name of your own.")
            }
            SiteError::SectorTaken => Self::invalid_field("non_field_errors", "The site has this sector already."),
            SiteError::SectorLimitReached(SectorLimitReached { limit, used }) => {
                let sentence =
                    format!("Your plan allows {limit} sector(s) per site and this one has {used}; delete one or choose a larger plan.");
                Self::refused("sector_limit_reached", sentence).fact("limit", limit).fact("used", used)
            }
            SiteError::NoUrlConflict => {
                Self::conflict("no_url_conflict", "This site was used from no such other address; there is nothing to decide.")
            }
            SiteError::NobodyToSee => Self::invalid_field("user_ids", "Name editors and viewers of this account only."),
            SiteError::Store(error) => error.into(),
        }
    }
}

impl From<NotReady> for Problem {
    fn from(not_ready: NotReady) -> Self {
        match not_ready {
            NotReady::Draining => Self::busy("draining", "This server is stopping; ask another, or try again in a moment."),
            NotReady::Late | NotReady::Store(_) => {
                Self::busy("database_unavailable", "The database does not answer; try again in a moment.")
            }
            NotReady::Schema(error) => {
                tracing::error!(reason = %error, "the schema can't be read");
                Self::busy("database_unavailable", "The database does not answer; try again in a moment.")
            }
            NotReady::Outdated => Self::busy("schema_outdated", "The database lacks migrations of this program; run `igny8 migrate`."),
        }
    }
}

impl From<RestoreError> for Problem {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Login(error) => error.into(),
            RestoreError::NotOwner => Self::forbidden("role_required", "Only an owner can restore the account."),
            RestoreError::Account(error) => error.into(),
        }
    }
}

impl From<RecoveryError> for Problem {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Invalid => Self::invalid_field("token", "This link was used or has ended; ask for a new one."),
            RecoveryError::Fault(fault) => Self::invalid_field("new_password", password_sentence(fault)),
            RecoveryError::Hashing(error) => error.into(),
            RecoveryError::Store(error) => error.into(),
        }
    }
}

impl From<SeatLimitReached> for Problem {
    fn from(SeatLimitReached { limit, used }: SeatLimitReached) -> Self {
        let sentence = format!("Your plan has {limit} seat(s) and {used} are taken; free one or choose a larger plan.");
        Self::refused("seat_limit_reached", sentence).fact("limit", limit).fact("used", used)
    }
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::NotFound => Self::not_found(),
            PeopleError::CallerGone => TokenRefused::Revoked.into(),
            PeopleError::Forbidden(Forbidden::NotBelow) => {
                Self::forbidden("role_not_allowed", "This user does not stand below you; ask an owner of the account.")
            }
            PeopleError::Forbidden(Forbidden::RoleNotHis) => {
                Self::forbidden("role_not_allowed", "This role is not yours to give; choose one below your own.")
            }
            PeopleError::LastOwner => Self::conflict("last_owner", "The account needs an owner; make somebody else owner first."),
            PeopleError::Seats(reached) => reached.into(),
            PeopleError::EmailTaken => Self::invalid_field("email", fault_sentence(Fault::EmailTaken)),
            PeopleError::EmailTakenMeanwhile => Self::conflict("email_taken", "Another user has this address by now; invite anew."),
            PeopleError::Fault(fault) => Self::invalid_field("password", password_sentence(fault)),
            PeopleError::Hashing(error) => error.into(),
            PeopleError::Store(error) => error.into(),
        }
    }
}

impl From<InvitationError> for Problem {
    fn from(error: InvitationError) -> Self {
        match error {
            InvitationError::People(error) => error.into(),
            InvitationError::AlreadyHere => Self::conflict("already_member", "This address belongs to one of the account's people."),
            InvitationError::AlreadyInvited => Self::conflict("already_invited", "This address is invited already; send that one again."),
        }
    }
}

impl From<AcceptanceError> for Problem {
    fn from(error: AcceptanceError) -> Self {
        match error {
            AcceptanceError::Invalid => Self::invalid_field("token", "This invitation was used or has ended; ask for a new one."),
            AcceptanceError::Fault(fault) => Self::invalid_field("password", password_sentence(fault)),
            AcceptanceError::Seats(reached) => reached.into(),
            AcceptanceError::EmailTaken => {
                Self::conflict("email_taken", "A user with this address exists; sign in, or ask for an invitation to another address.")
            }
            AcceptanceError::Hashing(error) => error.into(),
            AcceptanceError::Session(error) => error.into(),
            AcceptanceError::Incomplete => Self::internal("an acceptance could not be completed"),
            AcceptanceError::Store(error) => error.into(),
        }
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::NotFound => Self::not_found(),
            EventError::Conflict { event_type, external_id } => {
                let sentence = "This event was reported before with another payload; give a new one its own external_id.";
                Self::conflict("event_conflict", sentence).fact("event_type", event_type).fact("external_id", external_id)
            }
            EventError::Store(error) => error.into(),
        }
    }
}

impl From<PriceError> for Problem {
    fn from(error: PriceError) -> Self {
        match error {
            PriceError::InThePast => Self::invalid_field("effective_from", "Give an instant that is not over: the past keeps its price."),
            PriceError::Store(error) => error.into(),
        }
    }
}

impl From<MfaError> for Problem {
    fn from(error: MfaError) -> Self {
        match error {
            MfaError::WrongPassword => Self::invalid_field("password", "This is not your present password."),
            MfaError::WrongCode => Self::invalid_field("code", "This code is wrong or was used; wait for the next one."),
            MfaError::AlreadyActive => Self::conflict("mfa_already_active", "Your second factor is on; switch it off first."),
            MfaError::NotActive => Self::conflict("mfa_not_active", "There is no second factor; enroll and activate one first."),
            MfaError::UnknownUser => Self::not_found(),
            MfaError::Sealed(error) => Self::internal(&format!("a second factor: {error}")),
            MfaError::Hashing(error) => error.into(),
            MfaError::Store(error) => error.into(),
        }
    }
}

impl From<AddressError> for Problem {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::WrongPassword => Self::invalid_field("password", "This is not your present password."),
            AddressError::Same => Self::invalid_field("new_email", "This is your address already."),
            AddressError::Invalid => RecoveryError::Invalid.into(),
            AddressError::Taken => Self::conflict("email_taken", "Another user has this address by now; yours stays as it is."),
            AddressError::Hashing(error) => error.into(),
            AddressError::Store(error) => error.into(),
        }
    }
}

impl From<DowngradeRefused> for Problem {
    fn from(refused: DowngradeRefused) -> Self {
        match refused {
            DowngradeRefused::NotSmaller => {
                Self::refused("not_a_smaller_plan", "This plan is no smaller than yours; ask for an upgrade, or cancel.")
            }
            DowngradeRefused::NoPaidPeriod => {
                Self::conflict("no_paid_period", "No paid period is running; ask for the plan that you want with account/upgrade/.")
            }
            DowngradeRefused::PaidAhead => {
                Self::conflict("downgrade_paid", "The smaller plan is paid for already; ask for an upgrade instead.")
            }
            DowngradeRefused::NonePending => {
                Self::conflict("no_downgrade_pending", "No smaller plan is to come; there is nothing to take back.")
            }
        }
    }
}

impl From<HoldRefused> for Problem {
    fn from(refused: HoldRefused) -> Self {
        match refused {
            HoldRefused::NotFound => Self::not_found(),
            HoldRefused::NotOpen { status } => {
                Self::conflict("hold_not_open", format!("This hold is {status}; place a new one.")).fact("state", status)
            }
            HoldRefused::TooMuch { given, held } => {
                let sentence = format!("{held} are held and {given} were given; capture what is held and deduct the rest.");
                Self::conflict("capture_exceeds_hold", sentence).fact("held", held).fact("given", given)
            }
            HoldRefused::TooMany => {
                Self::refused("too_many_holds", format!("This account has {OPEN_MAX} open holds; capture or release one first."))
                    .fact("limit", OPEN_MAX)
            }
            HoldRefused::Pools(refused) => CreditError::Refused(refused).into(),
        }
    }
}

impl From<StatementError> for Problem {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Fault(fault) => {
                let sentence = format!("The file can't be read and nothing of it was taken: {fault}.");
                Self::new(StatusCode::BAD_REQUEST, "statement_unreadable", sentence).fact("line", fault.line).fact("column", fault.column)
            }
            StatementError::NotFound | StatementError::NoLine => Self::not_found(),
            StatementError::Unmatched(why) => {
                let sentence = format!("This line fits no open invoice ({why}); use confirm-bank-transfer and name the account.");
                Self::refused("line_unmatched", sentence)
            }
            StatementError::InvoiceClosed => {
                Self::conflict("invoice_not_open", "The invoice was closed meanwhile; look at the line again.")
            }
            StatementError::Billing(error) => error.into(),
        }
    }
}

/// What an admin named leads to no account: said with the way to find the right one.
fn no_payee(payee: &Payee) -> Problem {
    let (field, what) = match payee {
        Payee::Account(id) => ("account_id", format!("account {id}")),
        Payee::Slug(slug) => ("account_slug", format!("account called {slug}")),
        Payee::Invoice(number) => ("invoice_number", format!("invoice {number}")),
        Payee::Reference(reference) => ("reference", format!("invoice with the reference {reference}, or its check digits don't fit")),
        Payee::Email(email) => ("email", format!("user with the address {email}")),
    };
    let sentence = format!("There is no {what}; look for it with billing/admin/accounts/?q=.");
    Problem::new(StatusCode::NOT_FOUND, "not_found", sentence.clone()).with_field(field, sentence)
}
