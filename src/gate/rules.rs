//! Rule E: the one function that decides whether an account may use the API. And what a site's key is worth.

use super::model::{KeyRecord, SiteCaller};
use crate::{
    accounts::model::{Account, AccountStatus},
    clock::Timestamp,
    secrets,
    sites::keys::model::KeyScope,
};
use chrono::TimeDelta;

/// Characters of a key of the old system.
const OLD_KEY_CHARS: std::ops::RangeInclusive<usize> = 16..=128;
/// The use of a key is noted this often at the most.
pub const KEY_USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user belongs to no account.
    #[error("the user has no account")]
    NoAccount,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
    /// The account is cancelled.
    #[error("the account is cancelled")]
    Cancelled,
    /// The account has no plan.
    #[error("the account has no plan")]
    NoPlan,
    /// The account's plan is switched off.
    #[error("the account's plan is inactive")]
    PlanInactive,
}

/// Whether the account may use the API (requirements E).
///
/// Soft-deleted accounts and users never come this far: they are not found when the caller is looked up (401).
pub fn admit(account: Option<&Account>) -> Result<&Account, Refusal> {
    let account = account.ok_or(Refusal::NoAccount)?;
    match account.status {
        AccountStatus::Suspended => return Err(Refusal::Suspended),
        AccountStatus::Cancelled => return Err(Refusal::Cancelled),
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment => {}
    }
    match &account.plan {
        None => Err(Refusal::NoPlan),
        Some(plan) if !plan.is_active => Err(Refusal::PlanInactive),
        Some(_) => Ok(account),
    }
}

/// Until when what was found at `now` stands, if nobody changes anything: the first of these instants that is still to come, the
/// end of the period and that of its grace among them.
pub fn steady_until(
    ends: impl IntoIterator<Item = Option<Timestamp>>,
    period_end: Option<Timestamp>,
    grace: TimeDelta,
    now: Timestamp,
) -> Timestamp {
    let period = [period_end, period_end.and_then(|end| end.checked_add_signed(grace))];
    ends.into_iter().chain(period).flatten().filter(|end| now < *end).min().unwrap_or(Timestamp::MAX_UTC)
}

/// Whether a text can be a key at all, so that a mistyped or made-up one costs no query: ours prove their own spelling,
/// the old system's have other forms.
pub fn may_be_a_key(text: &str) -> bool {
    if text.starts_with(secrets::SITE_KEY_PREFIX) {
        return secrets::site_key_is_well_formed(text);
    }
    OLD_KEY_CHARS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// What a key is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWorth {
    /// It opens the API; rule E is still to be asked.
    Valid,
    /// It was revoked, has expired, or its site is deleted.
    Revoked,
    /// Its account is deleted: as if it had never been (rule E: 401).
    Unknown,
}

/// What a key that was found is worth at `now`.
pub fn worth(key: &KeyRecord, now: Timestamp) -> KeyWorth {
    let is_over = key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= now) || key.site_is_deleted;
    match (key.account_is_deleted, is_over) {
        (true, _) => KeyWorth::Unknown,
        (false, true) => KeyWorth::Revoked,
        (false, false) => KeyWorth::Valid,
    }
}

/// A key lacks what a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key lacks the scope {0}")]
pub struct ScopeMissing(pub KeyScope);

/// Whether the key that a site calls by opens this.
pub fn check_scope(site: &SiteCaller, needed: KeyScope) -> Result<(), ScopeMissing> {
    if site.scopes.contains(&needed) { Ok(()) } else { Err(ScopeMissing(needed)) }
}

/// Whether the use of a key at `now` is to be noted: a minute or more after the use that was noted last.
pub fn use_is_to_be_noted(last_used_at: Option<Timestamp>, now: Timestamp) -> bool {
    last_used_at.is_none_or(|last| last + KEY_USE_NOTED_EVERY <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credits::model::{Authority, Pools},
        ids::{AccountId, PlanId, SiteId, SiteKeyId},
        money::{Credits, Money},
        period::BillingCycle,
        plans::model::{Assignment, Plan},
    };

    fn plan(is_active: bool) -> Plan {
        Plan {
            number: PlanId(1),
            id: PlanId(1),
            slug: "free-trial".to_owned(),
            name: "Free Trial".to_owned(),
            price: Money::ZERO,
            billing_cycle: BillingCycle::Monthly,
            credits_per_month: Credits::ZERO,
            max_sites: 1,
            max_users: 1,
            max_sectors: 3,
            features: Vec::new(),
            is_active,
            assignment: Assignment::Signup,
            throttle_factor: 1,
        }
    }

    fn account(status: AccountStatus, plan: Option<Plan>) -> Account {
        let (name, slug) = ("Home G8".to_owned(), "home-g8".to_owned());
        Account {
            id: AccountId(29),
            name,
            slug,
            status,
            credits: Credits::ZERO,
            pools: Pools::EMPTY,
            authority: Authority::default(),
            payment_method: None,
            throttle_factor: 1,
            plan,
            subscription: None,
        }
    }

    fn key() -> KeyRecord {
        let caller = SiteCaller {
            key: SiteKeyId(5),
            site: SiteId(19),
            site_name: "tester site".to_owned(),
            site_slug: "tester-site".to_owned(),
            site_url: None,
            site_is_active: true,
            site_is_frozen: false,
            scopes: vec![KeyScope::Read],
            other_home: None,
            steady_until: Timestamp::MAX_UTC,
            account: account(AccountStatus::Active, Some(plan(true))),
        };
        KeyRecord {
            caller,
            revoked_at: None,
            expires_at: None,
            last_used_at: None,
            clone_is_known: false,
            site_is_deleted: false,
            account_is_deleted: false,
        }
    }

    #[test]
    fn e_every_status_with_every_kind_of_plan_has_its_answer() {
        use AccountStatus::{Active, Cancelled, PendingPayment, Suspended, Trial};
        let (none, inactive, active) = (None, Some(false), Some(true));
        let table = [
            (Trial, active, Ok(())),
            (Trial, inactive, Err(Refusal::PlanInactive)),
            (Trial, none, Err(Refusal::NoPlan)),
            (Active, active, Ok(())),
            (Active, inactive, Err(Refusal::PlanInactive)),
            (Active, none, Err(Refusal::NoPlan)),
            (PendingPayment, active, Ok(())),
            (PendingPayment, inactive, Err(Refusal::PlanInactive)),
            (PendingPayment, none, Err(Refusal::NoPlan)),
            // Who stopped must hear that first: another plan alone would not let him in.
            (Suspended, active, Err(Refusal::Suspended)),
            (Suspended, inactive, Err(Refusal::Suspended)),
            (Suspended, none, Err(Refusal::Suspended)),
            (Cancelled, active, Err(Refusal::Cancelled)),
            (Cancelled, inactive, Err(Refusal::Cancelled)),
            (Cancelled, none, Err(Refusal::Cancelled)),
        ];
        assert_eq!(table.len(), AccountStatus::ALL.len() * 3);

        for (status, is_active, expected) in table {
            let account = account(status, is_active.map(plan));
            assert_eq!(admit(Some(&account)).map(|_| ()), expected, "{status} with plan {is_active:?}");
        }

        assert_eq!(admit(None), Err(Refusal::NoAccount));
    }

    #[test]
    fn what_was_found_stands_until_the_first_instant_that_can_change_it() {
        let (now, micro, grace) = (Timestamp::UNIX_EPOCH, TimeDelta::microseconds(1), TimeDelta::days(3));
        let until = |ends: [Option<Timestamp>; 2], period_end| steady_until(ends, period_end, grace, now);

        assert_eq!(until([None, None], None), Timestamp::MAX_UTC);
        assert_eq!(until([Some(now + micro * 2), Some(now + micro)], Some(now + micro * 3)), now + micro);
        assert_eq!(until([Some(now), Some(now - micro)], None), Timestamp::MAX_UTC, "what is over changes nothing any more");
        assert_eq!(until([None, None], Some(now + micro)), now + micro);
        assert_eq!(until([None, None], Some(now)), now + grace, "then its grace is what ends next");
        assert_eq!(until([None, None], Some(now - grace)), Timestamp::MAX_UTC);
    }

    #[test]
    fn a_text_that_can_not_be_a_key_is_told_without_a_query() {
        let key = secrets::new_site_key();

        assert!(may_be_a_key(&key));
        assert!(!may_be_a_key(&key[..key.len() - 1]), "one character short");
        assert!(!may_be_a_key("igny8_0123456789abcdef"), "our prefix without our checksum");
        assert!(may_be_a_key("old-key-of-16-ch") && may_be_a_key(&"k".repeat(128)));
        for text in ["", "fifteen-chars-x", "with a blank inside", "tab\tinside-the-key", "ümlaut-in-an-old-key", &"k".repeat(129)] {
            assert!(!may_be_a_key(text), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_worth_what_key_site_and_account_still_are() {
        let now = Timestamp::UNIX_EPOCH;
        let microsecond = TimeDelta::microseconds(1);

        assert_eq!(worth(&key(), now), KeyWorth::Valid);
        assert_eq!(worth(&KeyRecord { revoked_at: Some(now), ..key() }, now), KeyWorth::Revoked);
        assert_eq!(worth(&KeyRecord { expires_at: Some(now + microsecond), ..key() }, now), KeyWorth::Valid);
        assert_eq!(worth(&KeyRecord { expires_at: Some(now), ..key() }, now), KeyWorth::Revoked);
        assert_eq!(worth(&KeyRecord { site_is_deleted: true, ..key() }, now), KeyWorth::Revoked);
        assert_eq!(worth(&KeyRecord { account_is_deleted: true, ..key() }, now), KeyWorth::Unknown);
        assert_eq!(worth(&KeyRecord { account_is_deleted: true, revoked_at: Some(now), ..key() }, now), KeyWorth::Unknown);
    }

    #[test]
    fn a_key_opens_what_its_scopes_say() {
        let site = key().caller;

        assert_eq!(check_scope(&site, KeyScope::Read), Ok(()));
        assert_eq!(check_scope(&site, KeyScope::Credits), Err(ScopeMissing(KeyScope::Credits)));
        assert_eq!(check_scope(&site, KeyScope::Events), Err(ScopeMissing(KeyScope::Events)));
    }

    #[test]
    fn the_use_of_a_key_is_noted_once_a_minute() {
        let now = Timestamp::UNIX_EPOCH;

        assert!(use_is_to_be_noted(None, now));
        assert!(!use_is_to_be_noted(Some(now), now));
        assert!(!use_is_to_be_noted(Some(now), now + TimeDelta::microseconds(59_999_999)));
        assert!(use_is_to_be_noted(Some(now), now + TimeDelta::minutes(1)));
    }
}
