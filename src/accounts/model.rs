//! The tenant, as clients see it.

use crate::{
    credits::model::{Authority, Pools},
    ids::{AccountId, PaymentMethod},
    money::Credits,
    plans::model::Plan,
    subscriptions::model::Subscription,
};
use serde::Serialize;
use utoipa::ToSchema;

crate::words! {
    /// How an account stands (requirements, section 1).
    pub enum AccountStatus {
        /// After registration.
        Trial = "trial",
        /// Paid.
        Active = "active",
        /// A paid plan asked for and not yet paid; keeps working while its present period lasts.
        PendingPayment = "pending_payment",
        /// The period is over and not paid, or staff stopped it.
        Suspended = "suspended",
        /// Ended by the customer.
        Cancelled = "cancelled",
    }
}

/// An account with what it has and may do now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Its word.
    #[schema(example = "home-g8")]
    pub slug: String,
    /// How it stands at this instant, whether or not the scheduler has recorded it yet.
    pub status: AccountStatus,
    /// Both pools together.
    pub credits: Credits,
    /// The pools as the query that authorised the request saw them.
    #[serde(skip)]
    pub pools: Pools,
    /// What the right to spend from it rested on then.
    #[serde(skip)]
    pub authority: Authority,
    /// How it pays.
    pub payment_method: Option<PaymentMethod>,
    /// Times the base limit of each throttle scope: its own factor while it has one, else its plan's.
    #[serde(skip)]
    pub throttle_factor: i32,
    /// What it may use.
    pub plan: Option<Plan>,
    /// What it has paid for.
    pub subscription: Option<Subscription>,
}

impl Account {
    /// The same account with these credits.
    pub fn refill(&mut self, pools: Pools) {
        (self.pools, self.credits) = (pools, pools.total());
    }
}
