//! Brings accounts into being by registration.

pub use super::staff::{Developer, DeveloperError, create_developer};
use super::{
    model::AccountStatus,
    registration::{Fault, Registration, slugs},
    store::{self, AccountRow, NewAccount},
};
use crate::{
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    auth::{
        self,
        model::{Holder, Opened, Role, Stay, Visit},
        service::{Desk, HashingError, NewUserError, SessionError},
        users::model::NewUser,
    },
    clock::Timestamp,
    credits,
    db::{MayCollide, StoreError},
    ids::AccountId,
    plans::{
        self,
        model::Plan,
        service::{SignupPlanError, intended_plan_in, signup_plan_in},
    },
    secrets, subscriptions,
};
use serde_json::json;
use sqlx::PgConnection;

/// Why nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Fields to be corrected.
    #[error("the registration has {} fault(s)", .0.len())]
    Invalid(Vec<Fault>),
    /// The plan asked for is assigned by hand only (A3).
    #[error("the plan is assigned by hand only")]
    ManualPlan,
    /// There is no plan to start on (A1).
    #[error("there is no plan to start on")]
    NoSignupPlan,
    /// The password was not hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The first session was not started.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What was just written can't be read.
    #[error("the new account can't be read")]
    Incomplete,
    /// The database could not do it.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for RegistrationError {
    fn from(error: StoreError) -> Self {
        // Rust and Postgres may differ on the lower case of a rare letter.
        let is_malformed = error.is_constraint("users_email_form");
        if is_malformed { RegistrationError::Invalid(vec![Fault::EmailMalformed]) } else { RegistrationError::Store(error) }
    }
}

impl From<NewUserError> for RegistrationError {
    fn from(error: NewUserError) -> Self {
        match error {
            NewUserError::EmailTaken => RegistrationError::Invalid(vec![Fault::EmailTaken]),
            NewUserError::Store(error) => error.into(),
        }
    }
}

impl MayCollide for RegistrationError {
    fn is_collision(&self) -> bool {
        match self {
            RegistrationError::Store(error) => error.is_collision(),
            RegistrationError::Session(error) => error.is_collision(),
            RegistrationError::Invalid(_)
            | RegistrationError::ManualPlan
            | RegistrationError::NoSignupPlan
            | RegistrationError::Hashing(_)
            | RegistrationError::Incomplete => false,
        }
    }
}

/// A registration that may be carried out: its fields are sound and its password is hashed.
#[derive(Debug, Clone)]
pub struct Prepared {
    registration: Registration,
    password_hash: String,
}

/// Checks what can be checked without the database, and hashes the password. Call it before a transaction begins.
pub async fn prepare(desk: Desk<'_>, registration: Registration) -> Result<Prepared, RegistrationError> {
    let faults = registration.faults(desk.config.password_length_min);
    if !faults.is_empty() {
        return Err(RegistrationError::Invalid(faults));
    }
    let password_hash = desk.authenticator.hash(&registration.password.0).await?;
    Ok(Prepared { registration, password_hash })
}

/// A registration that was carried out.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The first session.
    pub opened: Opened,
    /// The plan to take to the payment page (A4).
    pub intended_plan: Option<Plan>,
}

/// Makes user, account, subscription, credits, audit row and session in the caller's transaction: all or none (A2).
pub async fn register_in(
    connection: &mut PgConnection,
    desk: Desk<'_>,
    prepared: &Prepared,
    origin: &Origin,
    now: Timestamp,
) -> Result<Registered, RegistrationError> {
    let Prepared { registration, password_hash } = prepared;
    let intended_plan = check_in(connection, registration).await?;
    let plan = signup_plan_in(connection).await.map_err(|error| match error {
        SignupPlanError::Store(error) => RegistrationError::from(error),
        SignupPlanError::NoSignupPlan | SignupPlanError::ManualOnly | SignupPlanError::Unknown => RegistrationError::NoSignupPlan,
    })?;
    let account = open_account_in(connection, registration, &plan, now).await?;
    let user = NewUser {
        account,
        email: registration.email.clone(),
        username: registration.username(),
        first_name: registration.first_name.clone(),
        last_name: registration.last_name.clone(),
        role: Role::Owner,
        is_superuser: false,
        email_verified_at: None,
        password_hash: password_hash.clone(),
    };
    let user = auth::service::create_user_in(connection, &user, now).await?;
    auth::recovery::service::send_verification_in(connection, desk.outbox(), (user, registration.email.as_str()), now).await?;
    let period = subscriptions::service::start_trial_in(connection, account, &plan, desk.config.trial_days, now).await?;
    credits::service::seed_in(connection, account, period, &plan, &format!("user:{user}"), now).await?;
    let after = json!({
        "owner": user,
        "plan": plan.slug,
        "credits": plan.credits_per_month,
        "intended_plan": intended_plan.as_ref().map(|plan| &plan.slug),
        "payment_method": registration.payment_method,
    });
    record_in(connection, origin, &entry("account.registered", account, after, now)).await?;
    let holder = Holder { user, account: Some(account), role: Role::Owner };
    let visit = Visit { stay: Stay::Usual, device: registration.device.clone() };
    let opened = auth::service::start_session_in(connection, desk.authenticator, holder, &visit, now).await?;
    Ok(Registered { opened, intended_plan })
}

/// Checks what only the database knows, every fault at once. Gives the plan that is intended.
async fn check_in(connection: &mut PgConnection, registration: &Registration) -> Result<Option<Plan>, RegistrationError> {
    let mut faults = Vec::new();
    let intended_plan = match intended_plan_in(connection, registration.plan_slug.as_deref()).await {
        Ok(plan) => plan,
        Err(SignupPlanError::ManualOnly) => return Err(RegistrationError::ManualPlan),
        Err(SignupPlanError::NoSignupPlan) => return Err(RegistrationError::NoSignupPlan),
        Err(SignupPlanError::Store(error)) => return Err(error.into()),
        Err(SignupPlanError::Unknown) => {
            faults.push(Fault::UnknownPlan);
            None
        }
    };
    // Asked first, so that a taken address is told beside other faults; the unique index is what decides.
    if auth::users::store::is_email_taken(connection, &registration.email).await? {
        faults.push(Fault::EmailTaken);
    }
    if faults.is_empty() { Ok(intended_plan) } else { Err(RegistrationError::Invalid(faults)) }
}

/// Adds the account under the first free slug.
async fn open_account_in(
    connection: &mut PgConnection,
    registration: &Registration,
    plan: &Plan,
    now: Timestamp,
) -> Result<AccountId, RegistrationError> {
    let name = registration.account_name();
    let random = secrets::random_uuid().simple().to_string();
    for slug in slugs(&name, random.get(..12).unwrap_or(&random)) {
        let account = NewAccount {
            name: &name,
            slug: &slug,
            status: AccountStatus::Trial,
            plan: plan.id,
            billing_email: Some(registration.email.as_str()),
            is_system: false,
        };
        if let Some(account) = store::insert_account(connection, &account, now).await? {
            return Ok(account);
        }
    }
    Err(RegistrationError::Incomplete)
}

/// An entry of the log about an account that did not exist before.
pub(super) fn entry(action: &'static str, account: AccountId, after: serde_json::Value, now: Timestamp) -> Entry {
    Entry { account: Some(account), action, target: format!("account:{account}"), before: json!({}), after, reason: None, at: now }
}

/// The plan that a locked account has at `now`: the smaller one that it asked for, once that has begun, whether or not anybody has
/// recorded it. What there is room for is judged by this one.
pub async fn plan_in(connection: &mut PgConnection, account: &AccountRow, now: Timestamp) -> Result<Option<Plan>, StoreError> {
    let begun = subscriptions::store::find_begun_plan(&mut *connection, account.id, now).await?;
    match begun.or(account.plan) {
        Some(plan) => plans::store::get_plan(connection, plan).await.map(Some),
        None => Ok(None),
    }
}
