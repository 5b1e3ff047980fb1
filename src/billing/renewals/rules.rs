//! Which renewal is invoiced when. No I/O.

use crate::{
    accounts::model::AccountStatus,
    clock::Timestamp,
    ids::PlanId,
    subscriptions::model::{Locked, SubscriptionStatus},
};
use chrono::TimeDelta;

/// The plan that a renewal's invoice is for, if one is due at `now`: from `ahead` before the period's end until the grace is
/// over, by which time the account is suspended. What is to end for good is not renewed.
pub fn renewal_due(status: AccountStatus, subscription: &Locked, ahead: TimeDelta, now: Timestamp) -> Option<PlanId> {
    let is_running = match (status, subscription.subscription.status) {
        (AccountStatus::Active | AccountStatus::PendingPayment, SubscriptionStatus::Active | SubscriptionStatus::PastDue) => true,
        (AccountStatus::Active | AccountStatus::PendingPayment, SubscriptionStatus::Trialing | SubscriptionStatus::Canceled)
        | (AccountStatus::Trial | AccountStatus::Suspended | AccountStatus::Cancelled, _) => false,
    };
    let ends_at = subscription.subscription.current_period_end;
    let is_due = is_running && !subscription.subscription.cancel_at_period_end && ends_at - ahead <= now;
    let next = subscription.next.filter(|next| next.has_begun(ends_at));
    is_due.then(|| next.map_or(subscription.plan, |next| next.plan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::SubscriptionId,
        period::days,
        subscriptions::model::{NextPlan, Subscription},
    };

    const MICRO: TimeDelta = TimeDelta::microseconds(1);

    fn end() -> Timestamp {
        Timestamp::from_timestamp_micros(1_772_323_200_000_000).unwrap()
    }

    fn running(status: SubscriptionStatus) -> Locked {
        let subscription = Subscription {
            id: SubscriptionId(1),
            status,
            payment_method: None,
            external_payment_id: None,
            current_period_start: end() - days(30),
            current_period_end: end(),
            cancel_at_period_end: false,
        };
        Locked { plan: PlanId(5), next: None, subscription }
    }

    #[test]
    fn a_renewal_is_invoiced_so_many_days_before_the_end_to_the_microsecond_and_in_the_grace() {
        let due = |status, now| renewal_due(AccountStatus::Active, &running(status), days(7), now);

        assert_eq!(due(SubscriptionStatus::Active, end() - days(7) - MICRO), None);
        assert_eq!(due(SubscriptionStatus::Active, end() - days(7)), Some(PlanId(5)));
        assert_eq!(due(SubscriptionStatus::PastDue, end() + days(2)), Some(PlanId(5)));
        assert_eq!(due(SubscriptionStatus::Trialing, end()), None);
        assert_eq!(renewal_due(AccountStatus::Suspended, &running(SubscriptionStatus::PastDue), days(7), end()), None);
    }

    #[test]
    fn what_ends_for_good_is_not_renewed_and_a_smaller_plan_is_what_is_invoiced() {
        let mut ending = running(SubscriptionStatus::Active);
        ending.subscription.cancel_at_period_end = true;
        let smaller = Locked { next: Some(NextPlan { plan: PlanId(3), starts_at: end() }), ..running(SubscriptionStatus::Active) };

        assert_eq!(renewal_due(AccountStatus::Active, &ending, days(7), end()), None);
        assert_eq!(renewal_due(AccountStatus::Active, &smaller, days(7), end()), Some(PlanId(3)));
    }
}
