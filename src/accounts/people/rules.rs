//! Who may do what to whom, in one place.

use crate::{
    auth::{
        members::model::TeamMember,
        model::{Email, Role},
        passwords::NewPassword,
    },
    clock::Timestamp,
};
use chrono::TimeDelta;

/// A user to be made by an admin.
#[derive(Clone, Debug)]
pub struct Recruit {
    /// His address.
    pub email: Email,
    /// His role.
    pub role: Role,
    /// His first password; unset: he chooses it by mail.
    pub password: Option<NewPassword>,
    /// His name for himself; unset: what stands before the `@`.
    pub username: Option<String>,
    /// Given name, or nothing.
    pub first_name: String,
    /// Family name, or nothing.
    pub last_name: String,
}

/// Why somebody may not do that to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// He stands as high, or higher.
    #[error("the other one does not stand below")]
    NotBelow,
    /// The role is not his to give.
    #[error("the role is not his to give")]
    RoleNotHis,
}

/// All seats of the plan are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{used} of {limit} seats are taken")]
pub struct SeatLimitReached {
    /// What the plan allows.
    pub limit: i32,
    /// People and open invitations.
    pub used: i64,
}

/// Whether one may change, suspend or delete the other: from above, and owners and developers among themselves. Beside
/// that, everybody may leave.
pub fn may_manage(actor: Role, other: Role) -> Result<(), Forbidden> {
    let is_peer_in_charge = actor == other && matches!(actor, Role::Owner | Role::Developer);
    if actor.includes(Role::Admin) && (actor.rank() > other.rank() || is_peer_in_charge) { Ok(()) } else { Err(Forbidden::NotBelow) }
}

/// Whether one may invite or make somebody of that role: below his own, and people only. Owners are made of those who are
/// there: see [`may_give`].
pub fn may_recruit(actor: Role, role: Role) -> Result<(), Forbidden> {
    match role {
        Role::Viewer | Role::Editor | Role::Admin if actor.includes(Role::Admin) && role.rank() < actor.rank() => Ok(()),
        Role::Viewer | Role::Editor | Role::Admin | Role::Owner | Role::Developer | Role::SystemBot => Err(Forbidden::RoleNotHis),
    }
}

/// Whether one may give that role to somebody who has another: what he may recruit, and an owner his own.
pub fn may_give(actor: Role, role: Role) -> Result<(), Forbidden> {
    match role {
        Role::Owner if actor.includes(Role::Owner) => Ok(()),
        _ => may_recruit(actor, role),
    }
}

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenancy {
    /// A customer's.
    Customer,
    /// Staff's own, where developers stand for the owner.
    System,
}

/// The roles of which an account must keep one.
pub fn roles_in_charge(tenancy: Tenancy) -> &'static [Role] {
    match tenancy {
        Tenancy::Customer => &[Role::Owner],
        Tenancy::System => &[Role::Owner, Role::Developer],
    }
}

/// Whether one more seat is free. `limit` is the plan's; an account without a plan has none.
pub fn seat_for_one(limit: Option<i32>, used: i64) -> Result<(), SeatLimitReached> {
    let limit = limit.unwrap_or(0);
    if used < i64::from(limit) { Ok(()) } else { Err(SeatLimitReached { limit, used }) }
}

/// Nobody is frozen on a plan with more seats than this. Whoever has so much room has come to it by invitation, one by one up to
/// the limit, and counting who came before whom would cost each of his requests more than it could ever find.
pub const SEATS_COUNTED_MAX: i32 = 1_000;

/// Whether somebody is beyond the plan's seats, the newest first: he may read, and nothing else until there is room. `seniors`
/// is how many of the account's living people come before him: its owners, and who came earlier. Owners keep their seats.
pub fn is_frozen(role: Role, seats: Option<i32>, seniors: i64) -> bool {
    let seats = seats.unwrap_or(0);
    !role.keeps_seat() && seats <= SEATS_COUNTED_MAX && i64::from(seats) <= seniors
}

/// Somebody with what is to be said of his seat.
pub fn seated(member: TeamMember, seats: Option<i32>) -> TeamMember {
    let is_frozen = is_frozen(member.role, seats, member.seniors);
    TeamMember { is_frozen: Some(is_frozen), ..member }
}

/// Until when somebody deleted now can come back (H). Whole days of 86,400 seconds.
pub fn restore_until(retention_days: i32, now: Timestamp) -> Timestamp {
    now + TimeDelta::seconds(i64::from(retention_days) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Admin, Developer, Editor, Owner, SystemBot, Viewer};

    /// For each role, whom it may do it to, over all roles.
    fn table(may: impl Fn(Role, Role) -> bool) -> Vec<(Role, Vec<Role>)> {
        let row = |actor: Role| Role::ALL.iter().copied().filter(|other| may(actor, *other)).collect();
        Role::ALL.iter().map(|actor| (*actor, row(*actor))).collect()
    }

    #[test]
    fn nobody_manages_gives_or_recruits_what_stands_beside_or_above_him() {
        let manages = table(|actor, other| may_manage(actor, other).is_ok());
        let recruits = table(|actor, role| may_recruit(actor, role).is_ok());
        let gives = table(|actor, role| may_give(actor, role).is_ok());

        let below_owner = vec![Viewer, Editor, Admin];
        assert_eq!(
            manages,
            [
                (Viewer, vec![]),
                (Editor, vec![]),
                (Admin, vec![Viewer, Editor, SystemBot]),
                (Owner, vec![Viewer, Editor, Admin, Owner, SystemBot]),
                (Developer, vec![Viewer, Editor, Admin, Owner, Developer, SystemBot]),
                (SystemBot, vec![]),
            ]
        );
        let recruits_expected = [
            (Viewer, vec![]),
            (Editor, vec![]),
            (Admin, vec![Viewer, Editor]),
            (Owner, below_owner.clone()),
            (Developer, below_owner),
            (SystemBot, vec![]),
        ];
        assert_eq!(recruits, recruits_expected);
        let gives_expected = recruits_expected.map(|(actor, mut roles)| {
            if matches!(actor, Owner | Developer) {
                roles.push(Owner);
            }
            (actor, roles)
        });
        assert_eq!(gives, gives_expected);
    }

    #[test]
    fn the_newest_beyond_the_seats_are_frozen_and_an_owner_never() {
        let frozen = |role, seats| (0..4).map(|seniors| is_frozen(role, seats, seniors)).collect::<Vec<_>>();

        for role in [Viewer, Editor, Admin, SystemBot] {
            assert_eq!(frozen(role, Some(2)), [false, false, true, true], "{role}");
        }
        for role in [Owner, Developer] {
            assert_eq!(frozen(role, Some(1)), [false; 4], "{role}");
        }
        assert_eq!(frozen(Editor, None), [true; 4], "without a plan there is room for none");
        assert!(is_frozen(Editor, Some(SEATS_COUNTED_MAX), 1_000) && !is_frozen(Editor, Some(SEATS_COUNTED_MAX + 1), 5_000));
    }

    #[test]
    fn the_last_seat_is_taken_and_the_next_refused() {
        assert_eq!(seat_for_one(Some(3), 2), Ok(()));
        assert_eq!(seat_for_one(Some(3), 3), Err(SeatLimitReached { limit: 3, used: 3 }));
        assert_eq!(seat_for_one(None, 0), Err(SeatLimitReached { limit: 0, used: 0 }));
    }
}
