//! Staff and their own account, made from the command line.

use super::{
    model::AccountStatus,
    service::entry,
    store::{self, NewAccount},
};
use crate::{
    audit::{model::Origin, service::record_in},
    auth::{
        self,
        model::{Email, Role},
        passwords::{self, NewPassword, PasswordFault},
        service::{Desk, HashingError, NewUserError},
        users::model::NewUser,
    },
    clock::Timestamp,
    credits,
    db::{self, MayCollide, StoreError},
    ids::{AccountId, UserId},
    plans, subscriptions,
};
use serde_json::json;
use sqlx::PgConnection;

/// The slug of the system account that staff belong to.
pub const SYSTEM_SLUG: &str = "aws-admin";
/// What a system account uses (requirements, section 3).
const SYSTEM_PLAN: &str = "enterprise";

/// Why no developer was made.
#[derive(Debug, thiserror::Error)]
pub enum DeveloperError {
    /// A living user has the address.
    #[error("a user with this email already exists")]
    EmailTaken,
    /// The password may not become one.
    #[error("password: {0}")]
    Password(#[from] PasswordFault),
    /// The plan of system accounts is missing.
    #[error("there is no plan '{SYSTEM_PLAN}'; run `igny8 seed-plans`")]
    NoPlan,
    /// A customer's account has the slug of the system account.
    #[error("the slug '{SYSTEM_SLUG}' is taken by an account that is not a system account")]
    SlugTaken,
    /// The password was not hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database could not do it.
    #[error("the database could not do it: {0}")]
    Store(#[from] StoreError),
}

impl From<NewUserError> for DeveloperError {
    fn from(error: NewUserError) -> Self {
        match error {
            NewUserError::EmailTaken => DeveloperError::EmailTaken,
            NewUserError::Store(error) => DeveloperError::Store(error),
        }
    }
}

impl MayCollide for DeveloperError {
    fn is_collision(&self) -> bool {
        matches!(self, DeveloperError::Store(error) if error.is_collision())
    }
}

/// A developer who was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Developer {
    /// He.
    pub user: UserId,
    /// The system account that he belongs to.
    pub account: AccountId,
}

/// Makes a developer on the system account, and the account where there is none. For the command line only.
pub async fn create_developer(desk: Desk<'_>, email: &Email, password: &NewPassword, now: Timestamp) -> Result<Developer, DeveloperError> {
    passwords::check_password(password, email, desk.config.password_length_min)?;
    let password_hash = desk.authenticator.hash(&password.0).await?;
    let password_hash = &password_hash;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let account = system_account_in(&mut tx, now).await?;
        let user = NewUser {
            account,
            email: email.clone(),
            username: email.local_part().to_owned(),
            first_name: String::new(),
            last_name: String::new(),
            role: Role::Developer,
            is_superuser: true,
            email_verified_at: Some(now),
            password_hash: password_hash.clone(),
        };
        let user = auth::service::create_user_in(&mut tx, &user, now).await?;
        let after = json!({ "user_id": user, "role": Role::Developer });
        record_in(&mut tx, &Origin::cli(), &entry("developer.created", account, after, now)).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Developer { user, account })
    })
    .await
}

/// The system account, made with its subscription and credits where there is none.
async fn system_account_in(connection: &mut PgConnection, now: Timestamp) -> Result<AccountId, DeveloperError> {
    if let Some(account) = store::find_system_account(connection, SYSTEM_SLUG).await? {
        return Ok(account);
    }
    let plan = plans::store::find_plan_by_slug(&mut *connection, SYSTEM_PLAN).await?.ok_or(DeveloperError::NoPlan)?;
    let account = NewAccount {
        name: "AWS Admin",
        slug: SYSTEM_SLUG,
        status: AccountStatus::Active,
        plan: plan.id,
        billing_email: None,
        is_system: true,
    };
    let Some(account) = store::insert_account(connection, &account, now).await? else {
        // Somebody else was faster; he has committed by now.
        return store::find_system_account(connection, SYSTEM_SLUG).await?.ok_or(DeveloperError::SlugTaken);
    };
    let started = subscriptions::service::start_manual_in(connection, account, &plan, now).await?;
    credits::service::seed_in(connection, account, started.period_seq, &plan, "cli", now).await?;
    let after = json!({ "plan": plan.slug, "credits": plan.credits_per_month, "is_system": true });
    record_in(connection, &Origin::cli(), &entry("account.created", account, after, now)).await?;
    Ok(account)
}
