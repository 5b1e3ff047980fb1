//! How long a login lasts, and what a refresh token that comes a second time means.

use super::model::{Stay, Term};
use crate::{clock::Timestamp, period::days};
use chrono::TimeDelta;

/// A second use of a refresh token within this time is a parallel tab; later it is theft.
const REFRESH_GRACE_SECONDS: i64 = 30;

/// How long an access token opens the API.
pub fn access_life() -> TimeDelta {
    TimeDelta::hours(1)
}

/// How long a session lasts without being used.
pub fn refresh_life(stay: Stay) -> TimeDelta {
    match stay {
        Stay::Usual => days(7),
        Stay::Remembered => days(20),
    }
}

/// How long a session lasts however often it is used: then somebody has to prove again who he is.
pub fn session_life_max(stay: Stay) -> TimeDelta {
    match stay {
        Stay::Usual => days(30),
        Stay::Remembered => days(90),
    }
}

/// When a refresh token that is issued at `now` ends: unused, after its life; never after its session's longest.
pub fn refresh_ends_at(term: Term, now: Timestamp) -> Timestamp {
    (now + refresh_life(term.stay)).min(term.started_at + session_life_max(term.stay))
}

/// How long a session that is over is kept, for whoever asks later what happened.
pub fn session_kept() -> TimeDelta {
    days(30)
}

/// A refresh token, as it was issued and used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownToken {
    /// How often its session had been rotated when it was issued.
    pub generation: i32,
    /// When it was first used.
    pub rotated_at: Option<Timestamp>,
}

/// What becomes of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// A new pair of this generation, which is the session's from now on.
    Rotate {
        /// The session's generation, or the one after it.
        generation: i32,
    },
    /// Somebody else has used the token before: the session is over.
    Reused,
}

/// Whether a refresh token still buys a new pair.
///
/// It does while it is of the session's generation or of the one before, and unused or used at most 30 seconds ago: then
/// a parallel tab came second and gets a sibling of what the first one got. `None` is a token that was signed for the
/// session and forgotten since, because two newer generations exist.
pub fn refresh(session_generation: i32, token: Option<KnownToken>, now: Timestamp) -> Refresh {
    let Some(token) = token else { return Refresh::Reused };
    let is_recent = token.generation >= session_generation.saturating_sub(1);
    let in_grace = token.rotated_at.is_none_or(|used| now <= used + TimeDelta::seconds(REFRESH_GRACE_SECONDS));
    if is_recent && in_grace {
        Refresh::Rotate { generation: session_generation.max(token.generation.saturating_add(1)) }
    } else {
        Refresh::Reused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_unused_after_its_life_and_used_at_its_longest() {
        let started_at = Timestamp::from_timestamp(1_772_323_200, 0).unwrap();
        let ends = |stay, day| (refresh_ends_at(Term { stay, started_at }, started_at + days(day)) - started_at).num_days();

        assert_eq!((ends(Stay::Usual, 0), ends(Stay::Usual, 6), ends(Stay::Usual, 23), ends(Stay::Usual, 29)), (7, 13, 30, 30));
        assert_eq!((ends(Stay::Remembered, 0), ends(Stay::Remembered, 70), ends(Stay::Remembered, 89)), (20, 90, 90));
    }

    #[test]
    fn a_refresh_token_is_judged_by_its_generation_and_its_first_use() {
        let now = Timestamp::from_timestamp(1_772_323_200, 0).unwrap();
        let used = |seconds: i64| Some(now - TimeDelta::seconds(seconds));
        let judge = |session, generation, rotated_at| refresh(session, Some(KnownToken { generation, rotated_at }), now);

        assert_eq!(judge(0, 0, None), Refresh::Rotate { generation: 1 }, "first use");
        assert_eq!(judge(1, 0, used(0)), Refresh::Rotate { generation: 1 }, "a parallel tab gets a sibling");
        assert_eq!(judge(1, 0, used(30)), Refresh::Rotate { generation: 1 }, "still in the grace");
        assert_eq!(judge(1, 0, used(31)), Refresh::Reused, "the parent, too late");
        assert_eq!(judge(2, 1, None), Refresh::Rotate { generation: 2 }, "the sibling that waited");
        assert_eq!(judge(2, 0, used(1)), Refresh::Reused, "the grandparent");
        assert_eq!(judge(2, 0, None), Refresh::Reused, "a sibling of the parent");
        assert_eq!(refresh(3, None, now), Refresh::Reused, "forgotten");
    }
}
