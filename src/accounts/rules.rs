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
pub fn standing(
    recorded: AccountStatus,
    tenancy: Tenancy,
    subscription: Option<&Subscription>,
    grace: TimeDelta,
    now: Timestamp,
) -> Standing {
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
    /// A payment was taken back, and there is time left from before it.
    PaymentReversed,
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
/// from \ event      Payment  Reversed  ByHand  Upgrade  Lapsed     Suspended  Reactivated  Cancelled
/// trial             active   pending   active  pending  suspended  suspended  –            cancelled
/// active            active   pending   active  pending  suspended  suspended  –            cancelled
/// pending_payment   active   pending   active  pending  suspended  suspended  –            cancelled
/// suspended         active   same      active  same     –          –          active       cancelled
/// cancelled         active   same      active  same     –          –          –            –
/// ```
/// A suspended or cancelled account that asks for a plan stays so until it has paid.
pub fn next_status(from: AccountStatus, event: AccountEvent) -> Result<AccountStatus, IllegalMove> {
    use AccountStatus::{Active, Cancelled, PendingPayment, Suspended, Trial};
    let refused = Err(IllegalMove { from, event });
    match (event, from) {
        (AccountEvent::PaymentConfirmed | AccountEvent::PlanSetByHand, _) => Ok(Active),
        (AccountEvent::UpgradeAsked | AccountEvent::PaymentReversed, Trial | Active | PendingPayment) => Ok(PendingPayment),
        (AccountEvent::UpgradeAsked | AccountEvent::PaymentReversed, Suspended | Cancelled) => Ok(from),
        (AccountEvent::PeriodLapsed | AccountEvent::Suspended, Trial | Active | PendingPayment) => Ok(Suspended),
        (AccountEvent::PeriodLapsed | AccountEvent::Suspended, Suspended | Cancelled) => refused,
        (AccountEvent::Reactivated, Suspended) => Ok(Active),
        (AccountEvent::Reactivated, Trial | Active | PendingPayment | Cancelled) => refused,
        (AccountEvent::Cancelled, Trial | Active | PendingPayment | Suspended) => Ok(Cancelled),
        (AccountEvent::Cancelled, Cancelled) => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubscriptionId;
    use AccountEvent::{PaymentConfirmed, PaymentReversed, PeriodLapsed, PlanSetByHand, Reactivated, UpgradeAsked};
    use AccountStatus::{Active, Cancelled, PendingPayment, Suspended, Trial};
    use SubscriptionStatus::{Canceled, PastDue, Trialing};

    const GRACE: TimeDelta = TimeDelta::days(3);
    const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

    fn end() -> Timestamp {
        Timestamp::from_timestamp_micros(1_772_323_200_000_000).unwrap()
    }

    fn subscription(status: SubscriptionStatus, cancel_at_period_end: bool) -> Subscription {
        Subscription {
            id: SubscriptionId(1),
            status,
            payment_method: None,
            external_payment_id: None,
            current_period_start: end() - TimeDelta::days(30),
            current_period_end: end(),
            cancel_at_period_end,
        }
    }

    fn stands(recorded: AccountStatus, status: SubscriptionStatus, now: Timestamp) -> (AccountStatus, Option<SubscriptionStatus>) {
        let standing = standing(recorded, Tenancy::Customer, Some(&subscription(status, false)), GRACE, now);
        (standing.account, standing.subscription)
    }

    #[test]
    fn b5_a_trial_is_suspended_at_its_end_to_the_microsecond_and_has_no_grace() {
        assert_eq!(stands(Trial, Trialing, end() - MICROSECOND), (Trial, Some(Trialing)));
        assert_eq!(stands(Trial, Trialing, end()), (Suspended, Some(Trialing)));
        assert_eq!(stands(Trial, Trialing, end() + MICROSECOND), (Suspended, Some(Trialing)));
    }

    #[test]
    fn b5_a_paid_period_is_past_due_at_its_end_and_suspended_at_the_end_of_the_grace() {
        let paid = SubscriptionStatus::Active;

        assert_eq!(stands(Active, paid, end() - MICROSECOND), (Active, Some(paid)));
        assert_eq!(stands(Active, paid, end()), (Active, Some(PastDue)));
        assert_eq!(stands(Active, paid, end() + MICROSECOND), (Active, Some(PastDue)));
        assert_eq!(stands(Active, paid, end() + GRACE - MICROSECOND), (Active, Some(PastDue)));
        assert_eq!(stands(Active, paid, end() + GRACE), (Suspended, Some(PastDue)));
        assert_eq!(stands(Active, paid, end() + GRACE + MICROSECOND), (Suspended, Some(PastDue)));
    }

    #[test]
    fn b5_the_scheduler_having_recorded_the_lapse_changes_no_answer() {
        for now in [end(), end() + GRACE - MICROSECOND, end() + GRACE] {
            assert_eq!(stands(Active, PastDue, now), stands(Active, SubscriptionStatus::Active, now), "{now}");
        }
    }

    #[test]
    fn an_account_that_awaits_payment_keeps_what_its_present_period_gives() {
        assert_eq!(stands(PendingPayment, Trialing, end() - MICROSECOND), (PendingPayment, Some(Trialing)));
        assert_eq!(stands(PendingPayment, Trialing, end()), (Suspended, Some(Trialing)));
        let paid = SubscriptionStatus::Active;
        assert_eq!(stands(PendingPayment, paid, end()), (PendingPayment, Some(PastDue)));
        assert_eq!(stands(PendingPayment, paid, end() + GRACE), (Suspended, Some(PastDue)));
    }

    #[test]
    fn without_grace_a_paid_period_is_suspended_at_its_end() {
        let subscription = subscription(SubscriptionStatus::Active, false);

        let at_the_end = standing(Active, Tenancy::Customer, Some(&subscription), TimeDelta::zero(), end());

        assert_eq!(at_the_end, Standing { account: Suspended, subscription: Some(PastDue) });
    }

    #[test]
    fn what_was_to_end_is_cancelled_at_the_end_of_its_period_without_grace() {
        for status in [Trialing, SubscriptionStatus::Active, PastDue, Canceled] {
            let subscription = subscription(status, true);
            let at = |now| standing(Active, Tenancy::Customer, Some(&subscription), GRACE, now);

            assert_eq!(at(end() - MICROSECOND), Standing { account: Active, subscription: Some(status) }, "{status}");
            assert_eq!(at(end()), Standing { account: Cancelled, subscription: Some(Canceled) }, "{status}");
            assert_eq!(at(end() + MICROSECOND), Standing { account: Cancelled, subscription: Some(Canceled) }, "{status}");
        }
    }

    #[test]
    fn a_cancelled_subscription_leaves_the_account_cancelled_at_the_end_of_its_period() {
        assert_eq!(stands(Active, Canceled, end() - MICROSECOND), (Active, Some(Canceled)));
        assert_eq!(stands(Active, Canceled, end()), (Cancelled, Some(Canceled)));
    }

    #[test]
    fn a_system_account_never_expires() {
        let far = end() + TimeDelta::days(36_500);
        for status in SubscriptionStatus::ALL {
            for cancels in [false, true] {
                let standing = standing(Active, Tenancy::System, Some(&subscription(*status, cancels)), GRACE, far);

                assert_eq!(standing, Standing { account: Active, subscription: Some(*status) });
            }
        }
    }

    #[test]
    fn what_is_stopped_or_has_no_subscription_stands_as_it_was_recorded() {
        let far = end() + TimeDelta::days(36_500);
        for recorded in [Suspended, Cancelled] {
            for status in SubscriptionStatus::ALL {
                assert_eq!(stands(recorded, *status, far), (recorded, Some(*status)));
            }
        }
        for recorded in AccountStatus::ALL {
            let standing = standing(*recorded, Tenancy::Customer, None, GRACE, far);

            assert_eq!(standing, Standing { account: *recorded, subscription: None });
        }
    }

    #[test]
    fn every_move_of_an_account_is_in_the_table_and_no_other() {
        // `Suspended` and `Cancelled` are states and events both; the states are imported.
        let (stop, end) = (AccountEvent::Suspended, AccountEvent::Cancelled);
        let table = [
            (Trial, PaymentConfirmed, Some(Active)),
            (Trial, PaymentReversed, Some(PendingPayment)),
            (Trial, PlanSetByHand, Some(Active)),
            (Trial, UpgradeAsked, Some(PendingPayment)),
            (Trial, PeriodLapsed, Some(Suspended)),
            (Trial, stop, Some(Suspended)),
            (Trial, Reactivated, None),
            (Trial, end, Some(Cancelled)),
            (Active, PaymentConfirmed, Some(Active)),
            (Active, PaymentReversed, Some(PendingPayment)),
            (Active, PlanSetByHand, Some(Active)),
            (Active, UpgradeAsked, Some(PendingPayment)),
            (Active, PeriodLapsed, Some(Suspended)),
            (Active, stop, Some(Suspended)),
            (Active, Reactivated, None),
            (Active, end, Some(Cancelled)),
            (PendingPayment, PaymentConfirmed, Some(Active)),
            (PendingPayment, PaymentReversed, Some(PendingPayment)),
            (PendingPayment, PlanSetByHand, Some(Active)),
            (PendingPayment, UpgradeAsked, Some(PendingPayment)),
            (PendingPayment, PeriodLapsed, Some(Suspended)),
            (PendingPayment, stop, Some(Suspended)),
            (PendingPayment, Reactivated, None),
            (PendingPayment, end, Some(Cancelled)),
            (Suspended, PaymentConfirmed, Some(Active)),
            (Suspended, PaymentReversed, Some(Suspended)),
            (Suspended, PlanSetByHand, Some(Active)),
            (Suspended, UpgradeAsked, Some(Suspended)),
            (Suspended, PeriodLapsed, None),
            (Suspended, stop, None),
            (Suspended, Reactivated, Some(Active)),
            (Suspended, end, Some(Cancelled)),
            (Cancelled, PaymentConfirmed, Some(Active)),
            (Cancelled, PaymentReversed, Some(Cancelled)),
            (Cancelled, PlanSetByHand, Some(Active)),
            (Cancelled, UpgradeAsked, Some(Cancelled)),
            (Cancelled, PeriodLapsed, None),
            (Cancelled, stop, None),
            (Cancelled, Reactivated, None),
            (Cancelled, end, None),
        ];
        let pairs = table.iter().map(|(from, event, _)| (*from, format!("{event:?}"))).collect::<std::collections::BTreeSet<_>>();
        assert_eq!((table.len(), pairs.len()), (5 * 8, 5 * 8), "each pair of state and event once");

        for (from, event, to) in table {
            assert_eq!(next_status(from, event), to.ok_or(IllegalMove { from, event }), "{from} by {event:?}");
        }
    }
}
