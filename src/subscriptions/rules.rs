//! What a payment buys: B2 or B3.

use super::model::{PeriodKind, SubscriptionStatus};
use crate::{
    clock::Timestamp,
    ids::PlanId,
    period::{BillingCycle, Period},
};

/// Whether the account still holds what it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Trial, active, pending payment, or in grace.
    Kept,
    /// Suspended or cancelled.
    Lost,
}

/// What runs, or ran last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its plan.
    pub plan: PlanId,
    /// How the subscription stands now.
    pub status: SubscriptionStatus,
    /// Its period.
    pub period: Period,
}

/// What a payment buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Activation or renewal.
    pub kind: PeriodKind,
    /// The period bought.
    pub period: Period,
}

/// Decides between B2 and B3.
///
/// The same plan, paid while it is held, is a renewal: it starts where the last period ends, however early the money comes.
/// Everything else starts now: a trial that becomes paid, a change of plan, a return after suspension or cancellation, and
/// money so late that the whole new period would already be over.
pub fn purchase(running: Option<Running>, hold: Hold, plan: PlanId, cycle: BillingCycle, now: Timestamp) -> Purchase {
    let starting = Purchase { kind: PeriodKind::Activation, period: Period::starting(cycle, now) };
    let Some(running) = running else { return starting };
    let is_paid = match running.status {
        SubscriptionStatus::Active | SubscriptionStatus::PastDue => true,
        SubscriptionStatus::Trialing | SubscriptionStatus::Canceled => false,
    };
    let next = running.period.next(cycle);
    if is_paid && hold == Hold::Kept && running.plan == plan && !next.is_over(now) {
        return Purchase { kind: PeriodKind::Renewal, period: next };
    }
    starting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::days;
    use chrono::TimeDelta;

    const MICRO: TimeDelta = TimeDelta::microseconds(1);

    fn start() -> Timestamp {
        Timestamp::from_timestamp_micros(1_772_323_200_000_000).unwrap()
    }

    fn running(status: SubscriptionStatus) -> Option<Running> {
        Some(Running { plan: PlanId(3), status, period: Period::starting(BillingCycle::Monthly, start()) })
    }

    fn buy(status: SubscriptionStatus, hold: Hold, plan: i64, now: Timestamp) -> Purchase {
        purchase(running(status), hold, PlanId(plan), BillingCycle::Monthly, now)
    }

    #[test]
    fn b3_a_renewal_joins_the_period_before_to_the_microsecond() {
        let end = start() + days(30);
        for now in [start(), start() + days(29), end - MICRO, end, end + MICRO, end + days(3)] {
            let bought = buy(SubscriptionStatus::Active, Hold::Kept, 3, now);
            assert_eq!((bought.kind, bought.period.starts_at, bought.period.ends_at), (PeriodKind::Renewal, end, end + days(30)));
        }
    }

    #[test]
    fn b3_a_renewal_whose_whole_period_is_over_is_an_activation() {
        let next_end = start() + days(60);
        assert_eq!(buy(SubscriptionStatus::PastDue, Hold::Kept, 3, next_end - MICRO).kind, PeriodKind::Renewal);
        let late = buy(SubscriptionStatus::PastDue, Hold::Kept, 3, next_end);
        assert_eq!((late.kind, late.period.starts_at), (PeriodKind::Activation, next_end));
    }

    #[test]
    fn b2_everything_else_starts_now() {
        let now = start() + days(10);
        let cases = [
            buy(SubscriptionStatus::Trialing, Hold::Kept, 3, now),
            buy(SubscriptionStatus::Active, Hold::Kept, 4, now),
            buy(SubscriptionStatus::Active, Hold::Lost, 3, now),
            buy(SubscriptionStatus::Canceled, Hold::Lost, 3, now),
            purchase(None, Hold::Kept, PlanId(3), BillingCycle::Monthly, now),
        ];
        for bought in cases {
            assert_eq!((bought.kind, bought.period), (PeriodKind::Activation, Period::starting(BillingCycle::Monthly, now)));
        }
        let annual = purchase(None, Hold::Kept, PlanId(3), BillingCycle::Annual, now);
        assert_eq!(annual.period.ends_at - annual.period.starts_at, days(365));
    }
}
