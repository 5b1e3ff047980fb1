//! Which reminder is true when. No I/O.

use super::model::{Ending, Moment, Whose, Window};
use crate::{clock::Timestamp, period::days};
use chrono::TimeDelta;

/// So long after its end an account is still told that it is suspended.
const ENDED_TOLD_DAYS: u16 = 7;

/// All reminders, none of which is true while another of the same period is.
pub fn windows(grace: TimeDelta) -> [Window; 7] {
    let (soon, last_day, overdue) = (-days(3), -days(1), days(1));
    let of = |moment, whose, from, until| Window { moment, whose, from, until };
    [
        of(Moment::Soon, Whose::Trial, soon, last_day),
        of(Moment::LastDay, Whose::Trial, last_day, TimeDelta::zero()),
        of(Moment::Ended, Whose::Trial, TimeDelta::zero(), days(ENDED_TOLD_DAYS)),
        of(Moment::Soon, Whose::Paid, soon, last_day),
        of(Moment::LastDay, Whose::Paid, last_day, TimeDelta::zero()),
        of(Moment::Overdue, Whose::Paid, overdue.min(grace), grace),
        of(Moment::Ended, Whose::Paid, grace, grace + days(ENDED_TOLD_DAYS)),
    ]
}

/// Subject and first line of a reminder: what ends or has ended, and in how many days.
pub fn told(ending: &Ending, moment: Moment, now: Timestamp) -> (String, String) {
    let (plan, account, day) = (&ending.plan, &ending.name, ending.ends_at.format("%Y-%m-%d %H:%M UTC"));
    // Begun days count: who has two days and an hour left has three to act in.
    let days_left = (ending.ends_at - now + TimeDelta::days(1) - TimeDelta::microseconds(1)).num_days();
    let (subject, what) = match moment {
        Moment::Soon => (format!("{plan} ends in {days_left} days"), format!("ends in {days_left} days, on {day}")),
        Moment::LastDay => (format!("{plan} ends today"), format!("ends within a day, on {day}")),
        Moment::Overdue => (format!("{plan} is over and not paid"), format!("ended on {day}. It goes on for a short time only")),
        Moment::Ended => (format!("{plan} is over"), format!("ended on {day}, and the account is suspended. Nothing is deleted")),
    };
    (subject, format!("{plan} of {} {what}.", account.replace(char::is_control, " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: TimeDelta = TimeDelta::microseconds(1);

    fn at(whose: Whose, grace: TimeDelta, since_end: TimeDelta) -> Vec<Moment> {
        let is_true = |window: &Window| window.whose == whose && window.from <= since_end && since_end < window.until;
        windows(grace).into_iter().filter(is_true).map(|window| window.moment).collect()
    }

    #[test]
    fn each_reminder_of_a_paid_period_begins_and_ends_to_the_microsecond() {
        let paid = |since_end| at(Whose::Paid, days(3), since_end);

        for (edge, before, after) in [
            (-days(3), vec![], vec![Moment::Soon]),
            (-days(1), vec![Moment::Soon], vec![Moment::LastDay]),
            (TimeDelta::zero(), vec![Moment::LastDay], vec![]),
            (days(1), vec![], vec![Moment::Overdue]),
            (days(3), vec![Moment::Overdue], vec![Moment::Ended]),
            (days(10), vec![Moment::Ended], vec![]),
        ] {
            assert_eq!((paid(edge - MICRO), paid(edge), paid(edge + MICRO)), (before, after.clone(), after), "{edge}");
        }
    }

    #[test]
    fn a_trial_has_no_grace_and_so_no_reminder_of_it() {
        let trial = |since_end| at(Whose::Trial, days(3), since_end);

        assert_eq!(trial(-MICRO), [Moment::LastDay]);
        assert_eq!((trial(TimeDelta::zero()), trial(days(2))), (vec![Moment::Ended], vec![Moment::Ended]));
        assert_eq!(trial(days(7)), []);
    }

    #[test]
    fn without_grace_nobody_is_told_that_he_is_in_it() {
        for hours in [-1, 0, 1, 23, 24, 25, 100] {
            assert!(!at(Whose::Paid, TimeDelta::zero(), TimeDelta::hours(hours)).contains(&Moment::Overdue), "{hours}");
        }
    }
}
