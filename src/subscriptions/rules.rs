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
    /// The smaller plan that it goes on with after its period.
    pub next_plan: Option<PlanId>,
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
/// The same plan, or the smaller one that was asked for, paid while it is held, is a renewal: it starts where the last period ends, however early the money comes.
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
    let goes_on = running.plan == plan || running.next_plan == Some(plan);
    if is_paid && hold == Hold::Kept && goes_on && !next.is_over(now) {
        return Purchase { kind: PeriodKind::Renewal, period: next };
    }
    starting
}

/// A period as it stands, for decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stood {
    /// Its number.
    pub seq: i32,
    /// What started it.
    pub kind: PeriodKind,
    /// Its plan.
    pub plan: PlanId,
    /// From when to when.
    pub period: Period,
    /// The end as it was promised.
    pub planned_ends_at: Timestamp,
    /// The bank's reference of what bought it.
    pub external_payment_id: Option<String>,
    /// Whether that was taken back.
    pub is_reversed: bool,
}

/// What becomes of paid time whose payment is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// It was over, and another came after it: nothing changes now.
    Past,
    /// It was over and the last: the grace after it was not paid for either.
    Last,
    /// It has not begun and never will; this one stays.
    Ahead(Stood),
    /// It ends now, and this one, which it had cut short, runs on to its promised end.
    Resumes(Stood),
    /// It ends now, and nothing runs.
    Ends,
}

/// A later payment has bought time behind it, which would hang in the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterPeriod(pub String);

/// Decides what taking back a period's payment does. `periods` are the account's, by number; `None` when it is not among them.
pub fn undo(periods: &[Stood], seq: i32, now: Timestamp) -> Option<Result<Undoing, LaterPeriod>> {
    let this = periods.iter().find(|period| period.seq == seq)?;
    let standing = || periods.iter().filter(|period| !period.is_reversed);
    // One that was cut short in its first instant is empty, and its time was promised all the same.
    let before = standing().rfind(|period| period.seq < seq);
    let after = standing().rfind(|period| period.seq > seq && period.period.starts_at < period.period.ends_at);
    if this.period.is_over(now) {
        return Some(Ok(if after.is_some() { Undoing::Past } else { Undoing::Last }));
    }
    if let Some(after) = after {
        return Some(Err(LaterPeriod(after.external_payment_id.clone().unwrap_or_default())));
    }
    let cut_short = |before: &&Stood| before.period.ends_at == this.period.starts_at && now < before.planned_ends_at;
    Some(Ok(match before {
        Some(before) if now < this.period.starts_at => Undoing::Ahead(before.clone()),
        Some(before) if cut_short(&before) => Undoing::Resumes(before.clone()),
        Some(_) | None => Undoing::Ends,
    }))
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
        Some(Running { plan: PlanId(3), next_plan: Some(PlanId(2)), status, period: Period::starting(BillingCycle::Monthly, start()) })
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
    fn b3_the_smaller_plan_that_was_asked_for_joins_too() {
        let end = start() + days(30);
        for now in [start(), end - MICRO, end, end + days(2)] {
            let bought = buy(SubscriptionStatus::Active, Hold::Kept, 2, now);
            assert_eq!((bought.kind, bought.period.starts_at), (PeriodKind::Renewal, end));
        }
        assert_eq!(buy(SubscriptionStatus::Active, Hold::Lost, 2, end).kind, PeriodKind::Activation);
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

    fn stood(seq: i32, kind: PeriodKind, from: u16, to: u16, planned: u16) -> Stood {
        let period = Period { starts_at: start() + days(from), ends_at: start() + days(to) };
        let planned_ends_at = start() + days(planned);
        let external_payment_id = (kind != PeriodKind::Trial).then(|| format!("BT-{seq}"));
        Stood { seq, kind, plan: PlanId(3), period, planned_ends_at, external_payment_id, is_reversed: false }
    }

    #[test]
    fn a_payment_taken_back_ends_its_period_and_what_it_cut_short_runs_on() {
        let trial = stood(1, PeriodKind::Trial, 0, 5, 14);
        let paid = stood(2, PeriodKind::Activation, 5, 35, 35);
        let at = |day: u16| undo(&[trial.clone(), paid.clone()], 2, start() + days(day)).unwrap().unwrap();

        assert_eq!((at(5), at(13)), (Undoing::Resumes(trial.clone()), Undoing::Resumes(trial.clone())));
        assert_eq!((at(14), at(34)), (Undoing::Ends, Undoing::Ends), "the trial would be over too");
        assert_eq!((at(35), at(37)), (Undoing::Last, Undoing::Last));
        let at_once = [stood(1, PeriodKind::Trial, 0, 0, 14), stood(2, PeriodKind::Activation, 0, 30, 30)];
        assert_eq!(undo(&at_once, 2, start()), Some(Ok(Undoing::Resumes(at_once[0].clone()))));
        assert_eq!(undo(&[trial], 2, start()), None);
    }

    #[test]
    fn a_payment_taken_back_before_its_period_leaves_what_runs() {
        let first = stood(1, PeriodKind::Activation, 0, 30, 30);
        let (second, third) = (stood(2, PeriodKind::Renewal, 30, 60, 60), stood(3, PeriodKind::Renewal, 60, 90, 90));
        let all = [first.clone(), second.clone(), third.clone()];
        let now = start() + days(10);

        assert_eq!(undo(&all[..2], 2, now), Some(Ok(Undoing::Ahead(first.clone()))));
        assert_eq!(undo(&all, 3, now), Some(Ok(Undoing::Ahead(second.clone()))));
        assert_eq!(undo(&all, 1, now), Some(Err(LaterPeriod("BT-3".to_owned()))), "the newest goes first");
        assert_eq!(undo(&all, 1, start() + days(40)), Some(Ok(Undoing::Past)));
        let gone = Stood { is_reversed: true, period: Period { ends_at: third.period.starts_at, ..third.period }, ..third };
        assert_eq!(undo(&[first.clone(), second, gone], 2, now), Some(Ok(Undoing::Ahead(first))));
    }
}
