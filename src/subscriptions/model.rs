//! A subscription and its periods.

use crate::{
    clock::Timestamp,
    ids::{PaymentMethod, PlanId, SubscriptionId},
    money::{Credits, Money},
    period::Period,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

crate::words! {
    /// How a subscription stands (requirements, section 1).
    pub enum SubscriptionStatus {
        /// On trial.
        Trialing = "trialing",
        /// Paid.
        Active = "active",
        /// The period is over and not paid, within the grace time.
        PastDue = "past_due",
        /// Over.
        Canceled = "canceled",
    }
}

crate::words! {
    /// What started a period.
    pub enum PeriodKind {
        /// Signup (B1).
        Trial = "trial",
        /// A payment with nothing running (B2).
        Activation = "activation",
        /// A payment that joins the period before (B3).
        Renewal = "renewal",
        /// A developer or the import.
        Manual = "manual",
    }
}

/// The smaller plan that an account goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPlan {
    /// Which.
    pub plan: PlanId,
    /// From when on.
    pub starts_at: Timestamp,
}

impl NextPlan {
    /// Whether it is the account's plan by now.
    pub fn has_begun(self, now: Timestamp) -> bool {
        self.starts_at <= now
    }
}

/// A smaller plan that is still to come, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ComingPlan {
    /// Its word.
    #[schema(example = "starter")]
    pub plan_slug: String,
    /// From this instant on.
    pub starts_at: DateTime<Utc>,
}

/// An account's subscription, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Subscription {
    /// Its number.
    pub id: SubscriptionId,
    /// How it stands.
    pub status: SubscriptionStatus,
    /// How the present period was paid; null on a trial.
    pub payment_method: Option<PaymentMethod>,
    /// The reference of the payment that bought the present period.
    pub external_payment_id: Option<String>,
    /// First instant of the present period.
    pub current_period_start: DateTime<Utc>,
    /// First instant after it.
    pub current_period_end: DateTime<Utc>,
    /// Whether it ends for good then.
    pub cancel_at_period_end: bool,
}

impl Subscription {
    /// The present period.
    pub fn period(&self) -> Period {
        Period { starts_at: self.current_period_start, ends_at: self.current_period_end }
    }
}

/// A subscription with what clients don't see.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Its plan.
    pub plan: PlanId,
    /// The smaller plan that it goes on with; past, until it is recorded.
    pub next: Option<NextPlan>,
    /// What clients see.
    pub subscription: Subscription,
}

/// One period of the history, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PeriodRecord {
    /// 1, 2, 3 … within the account.
    pub period: i32,
    /// What started it.
    pub kind: PeriodKind,
    /// The plan's word.
    pub plan_slug: String,
    /// What was paid for it.
    pub price: Money,
    /// What was granted for it.
    pub credits: Credits,
    /// First instant.
    pub starts_at: DateTime<Utc>,
    /// First instant after.
    pub ends_at: DateTime<Utc>,
    /// The end as it was promised; later than `ends_at` where a payment or a cancellation closed the period.
    pub planned_ends_at: DateTime<Utc>,
    /// End of the period before, where a gap lies between them.
    pub lapsed_from: Option<DateTime<Utc>>,
    /// The payment that bought it, by the bank's reference.
    pub external_payment_id: Option<String>,
}
