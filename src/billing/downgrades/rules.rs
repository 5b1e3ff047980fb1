//! Who may go on with which smaller plan, from when, and what it has no room for. No I/O.

use super::model::{CrowdedSite, DowngradeRefused, Excess, FrozenSite};
use crate::{
    accounts::model::AccountStatus,
    clock::Timestamp,
    plans::model::{Assignment, Plan},
    sites::{model::Site, rules::is_frozen},
    subscriptions::model::{Locked, SubscriptionStatus},
};

/// When the smaller plan begins: at the end of what is paid for. In the grace that is past, so it begins at once.
pub fn takes_effect_at(
    (status, subscription): (AccountStatus, Option<&Locked>),
    own: Option<&Plan>,
    smaller: &Plan,
) -> Result<Timestamp, DowngradeRefused> {
    let is_running = match status {
        AccountStatus::Active | AccountStatus::PendingPayment => true,
        AccountStatus::Trial | AccountStatus::Suspended | AccountStatus::Cancelled => false,
    };
    let subscription = subscription.filter(|_| is_running).ok_or(DowngradeRefused::NoPaidPeriod)?;
    match subscription.subscription.status {
        SubscriptionStatus::Active | SubscriptionStatus::PastDue => {}
        SubscriptionStatus::Trialing | SubscriptionStatus::Canceled => return Err(DowngradeRefused::NoPaidPeriod),
    }
    if is_paid_ahead(subscription) {
        return Err(DowngradeRefused::PaidAhead);
    }
    match own {
        Some(own) if own.assignment == Assignment::Payment && own.slug != smaller.slug && smaller.price < own.price => {
            Ok(subscription.subscription.current_period_end)
        }
        Some(_) | None => Err(DowngradeRefused::NotSmaller),
    }
}

/// Whether a smaller plan that is still to come may be taken back.
pub fn cancellable(subscription: Option<&Locked>) -> Result<(), DowngradeRefused> {
    match subscription.filter(|locked| locked.next.is_some()) {
        None => Err(DowngradeRefused::NonePending),
        Some(locked) if is_paid_ahead(locked) => Err(DowngradeRefused::PaidAhead),
        Some(_) => Ok(()),
    }
}

/// Whether time on the smaller plan was bought before it begins.
fn is_paid_ahead(subscription: &Locked) -> bool {
    subscription.next.is_some_and(|next| next.starts_at < subscription.subscription.current_period_end)
}

/// What the plan has no room for. `sites` are the account's living ones, or the first so many of them.
pub fn excess(plan: &Plan, sites: &[Site], users: i64) -> Excess {
    let frozen = sites.iter().filter(|site| is_frozen(Some(plan.max_sites), site.older_sites));
    let above = |site: &Site| site.sectors_count - i64::from(plan.max_sectors);
    let crowded = sites.iter().filter(|site| above(site) > 0);
    Excess {
        sites: frozen.map(|site| FrozenSite { id: site.id, name: site.name.clone() }).collect(),
        users: (users - i64::from(plan.max_users)).max(0),
        sectors: crowded.map(|site| CrowdedSite { id: site.id, name: site.name.clone(), sectors: above(site) }).collect(),
    }
}
