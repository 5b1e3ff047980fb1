//! What the gate's queries have in common: what they give of an account, and what they are told of those that are known.

use crate::{
    accounts::{
        model::{Account, AccountStatus},
        rules::{Tenancy, standing},
    },
    clock::Timestamp,
    credits::model::{Authority, Pools},
    ids::{AccountId, PaymentMethod, PlanId, SubscriptionId},
    money::{Credits, Money},
    period::BillingCycle,
    plans::model::{Assignment, Plan},
    subscriptions::model::{Subscription, SubscriptionStatus},
};
use chrono::TimeDelta;
use rust_decimal::Decimal;

/// What the joined query gives of an account; every column may be missing where the account is.
pub(super) struct AccountColumns {
    pub(super) account_id: Option<AccountId>,
    pub(super) account_name: Option<String>,
    pub(super) account_slug: Option<String>,
    pub(super) account_status: Option<AccountStatus>,
    pub(super) account_payment_method: Option<PaymentMethod>,
    pub(super) is_system: Option<bool>,
    pub(super) pool_plan: Option<i64>,
    pub(super) pool_extra: Option<i64>,
    pub(super) pool_held: Option<i64>,
    pub(super) pool_seq: Option<i64>,
    pub(super) authority: Option<i64>,
    pub(super) rules_version: i64,
    pub(super) plan_number: Option<PlanId>,
    pub(super) plan_id: Option<PlanId>,
    pub(super) plan_slug: Option<String>,
    pub(super) plan_name: Option<String>,
    pub(super) plan_price: Option<Decimal>,
    pub(super) plan_billing_cycle: Option<BillingCycle>,
    pub(super) plan_credits: Option<i64>,
    pub(super) plan_max_sites: Option<i32>,
    pub(super) plan_max_users: Option<i32>,
    pub(super) plan_max_sectors: Option<i32>,
    pub(super) plan_features: Option<Vec<String>>,
    pub(super) plan_is_active: Option<bool>,
    pub(super) plan_assignment: Option<Assignment>,
    pub(super) plan_throttle_factor: Option<i32>,
    pub(super) throttle_factor: Option<i32>,
    pub(super) subscription_id: Option<SubscriptionId>,
    pub(super) subscription_status: Option<SubscriptionStatus>,
    pub(super) subscription_payment_method: Option<PaymentMethod>,
    pub(super) subscription_external_payment_id: Option<String>,
    pub(super) subscription_start: Option<Timestamp>,
    pub(super) subscription_end: Option<Timestamp>,
    pub(super) subscription_cancels: Option<bool>,
}

impl AccountColumns {
    fn plan(&mut self) -> Option<Plan> {
        Some(Plan {
            number: self.plan_number?,
            id: self.plan_id?,
            slug: self.plan_slug.take()?,
            name: self.plan_name.take()?,
            price: Money::from_decimal(self.plan_price?).ok()?,
            billing_cycle: self.plan_billing_cycle?,
            credits_per_month: Credits::new(self.plan_credits?).ok()?,
            max_sites: self.plan_max_sites?,
            max_users: self.plan_max_users?,
            max_sectors: self.plan_max_sectors?,
            features: self.plan_features.take()?,
            is_active: self.plan_is_active?,
            assignment: self.plan_assignment?,
            throttle_factor: self.plan_throttle_factor?,
        })
    }

    fn subscription(&mut self) -> Option<Subscription> {
        Some(Subscription {
            id: self.subscription_id?,
            status: self.subscription_status?,
            payment_method: self.subscription_payment_method,
            external_payment_id: self.subscription_external_payment_id.take(),
            current_period_start: self.subscription_start?,
            current_period_end: self.subscription_end?,
            cancel_at_period_end: self.subscription_cancels?,
        })
    }

    /// Its credits; none where it has no balance.
    pub(super) fn pools(&self) -> Option<Pools> {
        let pool = |credits: Option<i64>| Credits::new(credits.unwrap_or(0)).ok();
        Some(Pools {
            plan: pool(self.pool_plan)?,
            extra: pool(self.pool_extra)?,
            held: pool(self.pool_held)?,
            last_seq: self.pool_seq.unwrap_or(0),
        })
    }

    /// The account as it stands at `now`.
    pub(super) fn account(mut self, grace: TimeDelta, now: Timestamp) -> Option<Account> {
        let mut subscription = self.subscription();
        let plan = self.plan();
        let pools = self.pools()?;
        let tenancy = if self.is_system? { Tenancy::System } else { Tenancy::Customer };
        let stands = standing(self.account_status?, tenancy, subscription.as_ref(), grace, now);
        if let (Some(subscription), Some(status)) = (&mut subscription, stands.subscription) {
            subscription.status = status;
        }
        Some(Account {
            id: self.account_id?,
            name: self.account_name?,
            slug: self.account_slug?,
            status: stands.account,
            credits: pools.total(),
            pools,
            authority: Authority { account: self.authority.unwrap_or(0), rules: self.rules_version },
            payment_method: self.account_payment_method,
            throttle_factor: self.throttle_factor.unwrap_or(1),
            plan,
            subscription,
        })
    }
}

/// Takes the account's columns out of a row of any query that selects them under these names.
macro_rules! account_columns {
    ($row:ident) => {
        AccountColumns {
            account_id: $row.account_id,
            account_name: $row.account_name,
            account_slug: $row.account_slug,
            account_status: $row.account_status,
            account_payment_method: $row.account_payment_method,
            is_system: $row.is_system,
            pool_plan: $row.pool_plan,
            pool_extra: $row.pool_extra,
            pool_held: $row.pool_held,
            pool_seq: $row.pool_seq,
            authority: $row.authority,
            rules_version: $row.rules_version,
            plan_number: $row.plan_number,
            plan_id: $row.plan_id,
            plan_slug: $row.plan_slug,
            plan_name: $row.plan_name,
            plan_price: $row.plan_price,
            plan_billing_cycle: $row.plan_billing_cycle,
            plan_credits: $row.plan_credits,
            plan_max_sites: $row.plan_max_sites,
            plan_max_users: $row.plan_max_users,
            plan_max_sectors: $row.plan_max_sectors,
            plan_features: $row.plan_features,
            plan_is_active: $row.plan_is_active,
            plan_assignment: $row.plan_assignment,
            plan_throttle_factor: $row.plan_throttle_factor,
            throttle_factor: $row.throttle_factor,
            subscription_id: $row.subscription_id,
            subscription_status: $row.subscription_status,
            subscription_payment_method: $row.subscription_payment_method,
            subscription_external_payment_id: $row.subscription_external_payment_id,
            subscription_start: $row.subscription_start,
            subscription_end: $row.subscription_end,
            subscription_cancels: $row.subscription_cancels,
        }
    };
}
pub(super) use account_columns;

/// The accounts of those who are known, for the statement to compare: each with the version at which he was read.
#[derive(Default)]
pub(super) struct KnownAt {
    pub(super) accounts: Vec<Option<i64>>,
    pub(super) authorities: Vec<Option<i64>>,
    pub(super) rules: Vec<Option<i64>>,
}

impl<'a> FromIterator<Option<&'a Account>> for KnownAt {
    fn from_iter<I: IntoIterator<Item = Option<&'a Account>>>(known: I) -> Self {
        let mut columns = KnownAt::default();
        for account in known {
            columns.accounts.push(account.map(|account| account.id.0));
            columns.authorities.push(account.map(|account| account.authority.account));
            columns.rules.push(account.map(|account| account.authority.rules));
        }
        columns
    }
}
