//! Who may go on with which smaller plan, from when, and what it has no room for. No I/O.

use super::model::{CrowdedSite, DowngradeRefused, Excess, FrozenSite, FrozenUser};
use crate::{
    accounts::{self, model::AccountStatus},
    auth::members::model::TeamMember,
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

/// What the plan has no room for. `sites` and `people` are the account's living ones, or the first so many of them.
pub fn excess(plan: &Plan, sites: &[Site], people: &[TeamMember]) -> Excess {
    let frozen = sites.iter().filter(|site| is_frozen(Some(plan.max_sites), site.older_sites));
    let unseated = people.iter().filter(|person| accounts::people::rules::is_frozen(person.role, Some(plan.max_users), person.seniors));
    let above = |site: &Site| site.sectors_count - i64::from(plan.max_sectors);
    let crowded = sites.iter().filter(|site| above(site) > 0);
    Excess {
        sites: frozen.map(|site| FrozenSite { id: site.id, name: site.name.clone() }).collect(),
        users: unseated.map(frozen_user).collect(),
        sectors: crowded.map(|site| CrowdedSite { id: site.id, name: site.name.clone(), sectors: above(site) }).collect(),
    }
}

fn frozen_user(person: &TeamMember) -> FrozenUser {
    let (email, first_name, last_name) = (person.email.clone(), person.first_name.clone(), person.last_name.clone());
    FrozenUser { id: person.id, email, first_name, last_name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::model::Role,
        ids::{PlanId, SiteId, SubscriptionId, UserId},
        money::Credits,
        period::{BillingCycle, days},
        subscriptions::model::{NextPlan, Subscription},
    };
    use AccountStatus::{Active, Cancelled, PendingPayment, Suspended, Trial};

    fn end() -> Timestamp {
        Timestamp::from_timestamp_micros(1_772_323_200_000_000).unwrap()
    }

    fn plan(slug: &str, price: &str, assignment: Assignment) -> Plan {
        Plan {
            number: PlanId(4),
            id: PlanId(4),
            slug: slug.to_owned(),
            name: slug.to_owned(),
            price: price.parse().unwrap(),
            billing_cycle: BillingCycle::Monthly,
            credits_per_month: Credits::ZERO,
            max_sites: 1,
            max_users: 2,
            max_sectors: 3,
            features: Vec::new(),
            is_active: true,
            assignment,
            throttle_factor: 1,
        }
    }

    fn running(status: SubscriptionStatus, next: Option<NextPlan>) -> Locked {
        let subscription = Subscription {
            id: SubscriptionId(1),
            status,
            payment_method: None,
            external_payment_id: None,
            current_period_start: end() - days(30),
            current_period_end: end(),
            cancel_at_period_end: false,
        };
        Locked { plan: PlanId(5), next, subscription }
    }

    fn next_at(starts_at: Timestamp) -> Option<NextPlan> {
        Some(NextPlan { plan: PlanId(4), starts_at })
    }

    #[test]
    fn a_smaller_plan_begins_where_what_is_paid_for_ends_and_only_behind_paid_time() {
        let (growth, starter) = (plan("growth", "139", Assignment::Payment), plan("starter", "89", Assignment::Payment));
        let asked = |status, subscription| takes_effect_at((status, Some(&running(subscription, None))), Some(&growth), &starter);

        for status in [SubscriptionStatus::Active, SubscriptionStatus::PastDue] {
            assert_eq!((asked(Active, status), asked(PendingPayment, status)), (Ok(end()), Ok(end())));
            for stopped in [Trial, Suspended, Cancelled] {
                assert_eq!(asked(stopped, status), Err(DowngradeRefused::NoPaidPeriod));
            }
        }
        for status in [SubscriptionStatus::Trialing, SubscriptionStatus::Canceled] {
            assert_eq!(asked(Active, status), Err(DowngradeRefused::NoPaidPeriod));
        }
        assert_eq!(takes_effect_at((Active, None), Some(&growth), &starter), Err(DowngradeRefused::NoPaidPeriod));
    }

    #[test]
    fn a_plan_is_smaller_that_costs_less_than_the_accounts_own_paid_one() {
        let paid = |slug, price| plan(slug, price, Assignment::Payment);
        let from =
            |own: Option<&Plan>, smaller: &Plan| takes_effect_at((Active, Some(&running(SubscriptionStatus::Active, None))), own, smaller);

        assert_eq!(from(Some(&paid("growth", "139")), &paid("starter", "138.99")), Ok(end()));
        assert_eq!(from(Some(&paid("growth", "139")), &paid("starter", "139")), Err(DowngradeRefused::NotSmaller));
        assert_eq!(from(Some(&paid("growth", "139")), &paid("growth", "99")), Err(DowngradeRefused::NotSmaller), "another version is none");
        assert_eq!(from(Some(&plan("enterprise", "0", Assignment::Manual)), &paid("starter", "89")), Err(DowngradeRefused::NotSmaller));
        assert_eq!(from(None, &paid("starter", "89")), Err(DowngradeRefused::NotSmaller));
    }

    #[test]
    fn what_is_paid_ahead_is_neither_changed_nor_taken_back() {
        let micro = chrono::TimeDelta::microseconds(1);
        let at = |next| cancellable(Some(&running(SubscriptionStatus::Active, next)));

        assert_eq!(at(next_at(end())), Ok(()));
        assert_eq!(at(next_at(end() - micro)), Err(DowngradeRefused::PaidAhead));
        assert_eq!((at(None), cancellable(None)), (Err(DowngradeRefused::NonePending), Err(DowngradeRefused::NonePending)));
        let (growth, starter) = (plan("growth", "139", Assignment::Payment), plan("starter", "89", Assignment::Payment));
        let ahead = running(SubscriptionStatus::Active, next_at(end() - micro));
        assert_eq!(takes_effect_at((Active, Some(&ahead)), Some(&growth), &starter), Err(DowngradeRefused::PaidAhead));
    }

    #[test]
    fn the_excess_is_the_newest_sites_the_newest_people_and_the_sectors_above() {
        let site = |older_sites: i64, sectors_count: i64| Site {
            id: SiteId(older_sites + 1),
            name: format!("Site {older_sites}"),
            slug: "a-site".to_owned(),
            url: None,
            is_active: true,
            is_frozen: false,
            older_sites,
            industry: None,
            sectors_count,
            url_conflict: None,
            created_at: end(),
            updated_at: end(),
        };

        let person = |seniors: i64, role: Role| TeamMember {
            id: UserId(seniors + 1),
            email: format!("{seniors}@example.com"),
            username: "a".to_owned(),
            first_name: "A".to_owned(),
            last_name: String::new(),
            role,
            is_active: true,
            email_verified: true,
            last_login_at: None,
            created_at: end(),
            is_frozen: None,
            seniors,
        };
        let people = [person(1, Role::Editor), person(2, Role::Owner), person(3, Role::Admin)];

        let told = excess(&plan("starter", "89", Assignment::Payment), &[site(0, 3), site(1, 5)], &people);

        assert_eq!(told.sites, [FrozenSite { id: SiteId(2), name: "Site 1".to_owned() }]);
        assert_eq!(
            (
                told.users.iter().map(|user| user.id.0).collect::<Vec<_>>(),
                told.sectors.iter().map(|site| (site.id, site.sectors)).collect::<Vec<_>>()
            ),
            (vec![4], vec![(SiteId(2), 2)])
        );
        assert_eq!(excess(&plan("starter", "89", Assignment::Payment), &[site(0, 3)], &people[..2]), Excess::default());
    }
}
