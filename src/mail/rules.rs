//! When a mail is tried again, and when it is given up.

use chrono::TimeDelta;

/// Attempts at the most.
pub const ATTEMPTS_MAX: i32 = 10;
/// A claimed mail belongs to its worker for so long; one whose worker died is claimed again after it.
pub const LEASE: TimeDelta = TimeDelta::minutes(10);
/// What is over is kept for so long, without its bodies.
pub const KEPT: TimeDelta = TimeDelta::days(30);
/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 500;
const FIRST_PAUSE_SECONDS: i64 = 30;
const LONGEST_PAUSE_SECONDS: i64 = 6 * 3_600;

/// The pause after that many attempts failed: half a minute, doubled each time, six hours at the most. `None`: give up.
pub fn pause_after(attempts: i32) -> Option<TimeDelta> {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0);
    let seconds = FIRST_PAUSE_SECONDS.saturating_mul(2_i64.saturating_pow(doublings)).min(LONGEST_PAUSE_SECONDS);
    (attempts < ATTEMPTS_MAX).then(|| TimeDelta::seconds(seconds))
}

/// What is kept of an error: short, and without the address, which servers like to repeat.
pub fn error_to_keep(error: &str, recipient: &str) -> String {
    let local = recipient.rsplit_once('@').map_or(recipient, |(local, _)| local);
    let plain = error.replace(recipient, "…").replace(local, "…");
    plain.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_six_hours_and_then_the_mail_is_given_up() {
        let pauses = (1..=10).map(|attempts| pause_after(attempts).map(|pause| pause.num_seconds())).collect::<Vec<_>>();

        let expected = [30, 60, 120, 240, 480, 960, 1_920, 3_840, 7_680].map(Some);
        assert_eq!(pauses[..9], expected);
        assert_eq!((pauses[9], pause_after(i32::MAX)), (None, None));
        assert!((1..ATTEMPTS_MAX).all(|attempts| pause_after(attempts).is_some_and(|pause| pause <= TimeDelta::hours(6))));
    }

    #[test]
    fn a_kept_error_does_not_tell_the_address() {
        let kept = error_to_keep("550 <ana@example.com>: user ana unknown\r\n", "ana@example.com");

        assert_eq!(kept, "550 <…>: user … unknown");
        assert_eq!(error_to_keep(&"x".repeat(600), "a@b.c").chars().count(), 500);
    }
}
