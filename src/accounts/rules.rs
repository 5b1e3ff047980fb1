//! When an account may act: decided from its period's end at the instant of the request. The scheduler only records it.

use super::model::AccountStatus;
use crate::{
    clock::Timestamp,
    subscriptions::model::{Subscription, SubscriptionStatus},
};
use chrono::TimeDelta;

/// How account and subscription stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account's state.
    pub account: AccountStatus,
    /// The subscription's state, where there is one.
    pub subscription: Option<SubscriptionStatus>,
}

/// Whether the calendar applies to an account at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// A customer's.
    Customer,
    /// Staff's own: never expires (requirements, section 1).
    System,
}

/// How the account stands at `now` (B5), given what was last recorded.
///
/// A trial whose period is over is suspended; a paid period that is over is past due for `grace` and then suspended;
/// one that was to end for good is cancelled at its end.
pub fn standing(recorded: AccountStatus, tenancy: Tenancy, subscription: Option<&Subscription>, grace: TimeDelta, now: Timestamp) -> Standing {
    let as_recorded = Standing { account: recorded, subscription: subscription.map(|subscription| subscription.status) };
    let Some(subscription) = subscription else { return as_recorded };
    let is_running = match recorded {
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment => true,
        AccountStatus::Suspended | AccountStatus::Cancelled => false,
    };
    if tenancy == Tenancy::System || !is_running || now < subscription.current_period_end {
        return as_recorded;
    }
    if subscription.cancel_at_period_end {
        return Standing { account: AccountStatus::Cancelled, subscription: Some(SubscriptionStatus::Canceled) };
    }
    match subscription.status {
        SubscriptionStatus::Trialing => Standing { account: AccountStatus::Suspended, subscription: Some(SubscriptionStatus::Trialing) },
        SubscriptionStatus::Active | SubscriptionStatus::PastDue => Standing {
            account: if now < subscription.current_period_end + grace { recorded } else { AccountStatus::Suspended },
            subscription: Some(SubscriptionStatus::PastDue),
        },
        SubscriptionStatus::Canceled => Standing { account: AccountStatus::Cancelled, subscription: Some(SubscriptionStatus::Canceled) },
    }
}

/// What moves an account from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEvent {
    /// A payment was confirmed.
    PaymentConfirmed,
    /// A developer set a plan by hand.
    PlanSetByHand,
    /// A paid plan was asked for.
    UpgradeAsked,
    /// The period, and the grace with it, ended unpaid.
    PeriodLapsed,
    /// Staff stopped it.
    Suspended,
    /// Staff let it go on.
    Reactivated,
    /// The customer ended it, or its last period ended.
    Cancelled,
}

/// A move that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account that is {from} can't be moved by {event:?}")]
pub struct IllegalMove {
    /// The present state.
    pub from: AccountStatus,
    /// What was to move it.
    pub event: AccountEvent,
}

/// The one table of legal moves.
///
/// ```text
/// from \ event      Payment  ByHand  Upgrade  Lapsed     Suspended  Reactivated  Cancelled
/// trial             active   active  pending  suspended  suspended  –            cancelled
/// active            active   active  pending  suspended  suspended  –            cancelled
/// pending_payment   active   active  pending  suspended  suspended  –            cancelled
/// suspended         active   active  same     –          –          active       cancelled
/// cancelled         active   active  same     –          –          –            –
/// ```
/// A suspended or cancelled account that asks for a plan stays so until it has paid.
pub fn next_status(from: AccountStatus, event: AccountEvent) -> Result<AccountStatus, IllegalMove> {
    use AccountStatus::{Active, Cancelled, PendingPayment, Suspended, Trial};
    let refused = Err(IllegalMove { from, event });
    match (event, from) {
        (AccountEvent::PaymentConfirmed | AccountEvent::PlanSetByHand, _) => Ok(Active),
        (AccountEvent::UpgradeAsked, Trial | Active | PendingPayment) => Ok(PendingPayment),
        (AccountEvent::UpgradeAsked, Suspended | Cancelled) => Ok(from),
        (AccountEvent::PeriodLapsed | AccountEvent::Suspended, Trial | Active | PendingPayment) => Ok(Suspended),
        (AccountEvent::PeriodLapsed | AccountEvent::Suspended, Suspended | Cancelled) => refused,
        (AccountEvent::Reactivated, Suspended) => Ok(Active),
        (AccountEvent::Reactivated, Trial | Active | PendingPayment | Cancelled) => refused,
        (AccountEvent::Cancelled, Trial | Active | PendingPayment | Suspended) => Ok(Cancelled),
        (AccountEvent::Cancelled, Cancelled) => refused,
    }
}
