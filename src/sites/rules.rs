//! Who sees which site, how many there may be, and what a new one is called.

use super::model::Sight;
use crate::{
    auth::model::Role,
    clock::Timestamp,
    ids::{UserId, slug_of},
};
use chrono::TimeDelta;

/// What a site is called whose name has no letter or digit of ASCII.
const NAMELESS_SLUG: &str = "site";

/// An account has as many sites as its plan allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account has {used} of {limit} sites")]
pub struct LimitReached {
    /// What the plan allows.
    pub limit: i32,
    /// What the account has.
    pub used: i64,
}

/// Which sites somebody sees by his role (requirements, section 1).
pub fn sight_of(role: Role, user: UserId) -> Sight {
    match role {
        Role::Admin | Role::Owner | Role::Developer => Sight::All,
        Role::Viewer | Role::Editor | Role::SystemBot => Sight::GrantedTo(user),
    }
}

/// Whether one more site fits. `limit` is the plan's; an account without a plan has room for none.
pub fn room_for_one(limit: Option<i32>, used: i64) -> Result<(), LimitReached> {
    let limit = limit.unwrap_or(0);
    if used < i64::from(limit) { Ok(()) } else { Err(LimitReached { limit, used }) }
}

/// Whether a site is beyond what the plan has room for, the newest first: it can be read and deleted, and nothing else until
/// the plan is large enough again. `older` is how many living sites of the account are older.
pub fn is_frozen(limit: Option<i32>, older: i64) -> bool {
    i64::from(limit.unwrap_or(0)) <= older
}

/// What the word of a site begins with when it is made from the name.
pub fn slug_stem(name: &str) -> String {
    let stem = slug_of(name);
    if stem.is_empty() { NAMELESS_SLUG.to_owned() } else { stem }
}

/// The first of `stem`, `stem-2`, `stem-3` … that no living site of the account has.
pub fn free_slug(stem: &str, taken: &[String]) -> String {
    let is_free = |slug: &String| !taken.contains(slug);
    // One of as many candidates as there are taken words, and one more, is free.
    let numbered = (2..taken.len().saturating_add(3)).map(|number| format!("{stem}-{number}"));
    std::iter::once(stem.to_owned()).chain(numbered).find(is_free).unwrap_or_else(|| stem.to_owned())
}

/// Until when what is deleted now can be restored (H). Whole days of 86,400 seconds.
pub fn restore_until(retention_days: i32, now: Timestamp) -> Timestamp {
    now + TimeDelta::seconds(i64::from(retention_days) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sites_beyond_the_limit_are_frozen() {
        let frozen = |limit| (0..4).map(|older| is_frozen(limit, older)).collect::<Vec<_>>();

        assert_eq!(frozen(Some(3)), [false, false, false, true]);
        assert_eq!(frozen(Some(1)), [false, true, true, true]);
        assert_eq!(frozen(None), [true; 4], "without a plan there is room for none");
    }

    fn words(slugs: &[&str]) -> Vec<String> {
        slugs.iter().map(|slug| (*slug).to_owned()).collect()
    }

    #[test]
    fn owner_admin_and_developer_see_every_site_and_the_others_only_what_was_granted() {
        let seen = Role::ALL.iter().map(|role| (*role, sight_of(*role, UserId(7)))).collect::<Vec<_>>();

        let granted = Sight::GrantedTo(UserId(7));
        assert_eq!(
            seen,
            [
                (Role::Viewer, granted),
                (Role::Editor, granted),
                (Role::Admin, Sight::All),
                (Role::Owner, Sight::All),
                (Role::Developer, Sight::All),
                (Role::SystemBot, granted),
            ]
        );
    }

    #[test]
    fn the_last_site_fits_and_the_next_does_not() {
        assert_eq!(room_for_one(Some(3), 2), Ok(()));
        assert_eq!(room_for_one(Some(3), 3), Err(LimitReached { limit: 3, used: 3 }));
        assert_eq!(room_for_one(Some(0), 0), Err(LimitReached { limit: 0, used: 0 }));
        assert_eq!(room_for_one(None, 0), Err(LimitReached { limit: 0, used: 0 }));
    }

    #[test]
    fn a_word_made_from_a_name_is_the_first_that_is_free() {
        assert_eq!(free_slug("blog", &words(&[])), "blog");
        assert_eq!(free_slug("blog", &words(&["blog-2", "blog-x"])), "blog");
        assert_eq!(free_slug("blog", &words(&["blog"])), "blog-2");
        assert_eq!(free_slug("blog", &words(&["blog", "blog-2", "blog-4"])), "blog-3");
        assert_eq!(free_slug("blog", &words(&["blog-3", "blog-2", "blog"])), "blog-4");
        assert_eq!(slug_stem("日本"), "site");
        assert_eq!(slug_stem("Home & Garden"), "home-garden");
    }

    #[test]
    fn h_a_deleted_site_can_be_restored_for_the_accounts_retention_time() {
        let now = Timestamp::UNIX_EPOCH;

        assert_eq!((restore_until(14, now) - now).num_seconds(), 14 * 86_400);
        assert_eq!(restore_until(0, now), now);
    }
}
