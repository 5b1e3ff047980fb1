//! Rule E: the one function that decides whether an account may use the API.

use crate::accounts::model::{Account, AccountStatus};

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user belongs to no account.
    #[error("the user has no account")]
    NoAccount,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
    /// The account is cancelled.
    #[error("the account is cancelled")]
    Cancelled,
    /// The account has no plan.
    #[error("the account has no plan")]
    NoPlan,
    /// The account's plan is switched off.
    #[error("the account's plan is inactive")]
    PlanInactive,
}

/// Whether the account may use the API (requirements E).
///
/// Soft-deleted accounts and users never come this far: they are not found when the caller is looked up (401).
pub fn admit(account: Option<&Account>) -> Result<&Account, Refusal> {
    let account = account.ok_or(Refusal::NoAccount)?;
    match account.status {
        AccountStatus::Suspended => return Err(Refusal::Suspended),
        AccountStatus::Cancelled => return Err(Refusal::Cancelled),
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment => {}
    }
    match &account.plan {
        None => Err(Refusal::NoPlan),
        Some(plan) if !plan.is_active => Err(Refusal::PlanInactive),
        Some(_) => Ok(account),
    }
}
