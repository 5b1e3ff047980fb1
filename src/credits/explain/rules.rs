//! Puts an explanation together. No I/O.

use super::model::{ExtraGrant, ExtraRow, GrantRow, PaidFor, PlanGrant, PlanMove};
use crate::{
    clock::Timestamp,
    credits::lots::{
        model::Lot,
        rules::{KEPT, settled},
    },
    money::Credits,
};

/// Periods when nothing is asked.
pub const PERIODS_DEFAULT: usize = 3;
/// Extra credits given that are shown at the most.
pub const EXTRA_GRANTS_MAX: i64 = 100;

/// Grants with what they paid for.
pub fn plan_grants(grants: Vec<GrantRow>, moves: &[PlanMove]) -> Vec<PlanGrant> {
    grants.into_iter().map(|grant| plan_grant(grant, moves)).collect()
}

fn plan_grant(grant: GrantRow, moves: &[PlanMove]) -> PlanGrant {
    let own = || moves.iter().filter(|moved| moved.grant_seq == grant.seq);
    let paid_for =
        own().filter_map(|moved| Some(PaidFor { operation: moved.operation?, runs: moved.runs, credits: moved.amount.negated() }));
    let corrected = own().filter(|moved| moved.operation.is_none());
    let corrected = corrected.fold(Credits::ZERO, |sum, moved| sum.plus(moved.amount).unwrap_or(Credits::MAX));
    let left = own().fold(grant.granted, |left, moved| left.plus(moved.amount).unwrap_or(Credits::ZERO));
    PlanGrant {
        transaction: grant.seq,
        period: grant.period,
        granted: grant.granted,
        granted_at: grant.granted_at,
        description: grant.description,
        paid_for: paid_for.collect(),
        corrected,
        left: if grant.end_seq.is_none() { left } else { Credits::ZERO },
        reset: grant.reset,
    }
}

/// What became of extra credits, told from the lots and from what the pool holds, as the row has it. Those that never expire
/// are spent in the order in which they were given, after all that do.
pub fn extra_grants(rows: Vec<ExtraRow>, lots: Vec<Lot>, extra: Credits, now: Timestamp) -> Vec<ExtraGrant> {
    let lots = settled(lots, extra);
    let rest_of = |seq: i64| lots.iter().find(|lot| lot.seq == seq).map_or(Credits::ZERO, |lot| lot.remaining);
    let kept_left = if lots.is_empty() { extra } else { rest_of(KEPT) };
    let kept_given = rows.first().map_or(Credits::ZERO, |newest| newest.kept_so_far);
    let kept_spent = kept_given.minus(kept_left).unwrap_or(Credits::ZERO);
    let became = rows.into_iter().map(|row| {
        let (expired, left) = match row.expires_at {
            None => {
                let before = row.kept_so_far.minus(row.given).unwrap_or(Credits::ZERO);
                let spent = kept_spent.minus(before).unwrap_or(Credits::ZERO).max(Credits::ZERO).min(row.given);
                (Credits::ZERO, row.given.minus(spent).unwrap_or(Credits::ZERO))
            }
            // Over, and not written down yet.
            Some(expires_at) if expires_at <= now => (row.expired.plus(rest_of(row.seq)).unwrap_or(Credits::MAX), Credits::ZERO),
            Some(_) => (row.expired, rest_of(row.seq)),
        };
        let spent = row.given.minus(expired).and_then(|rest| rest.minus(left)).unwrap_or(Credits::ZERO);
        ExtraGrant {
            transaction: row.seq,
            kind: row.kind,
            given: row.given,
            given_at: row.given_at,
            expires_at: row.expires_at,
            description: row.description,
            spent,
            expired,
            left,
        }
    });
    became.collect()
}
