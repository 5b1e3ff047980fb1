//! Who of the lots paid. No I/O.

use super::model::Lot;
use crate::{
    clock::Timestamp,
    money::{Credits, CreditsOutOfRange},
};

/// Expiring lots that one account may have at once.
pub const LOTS_MAX: usize = 100;
/// The number of the lot that never expires.
pub const KEPT: i64 = 0;

/// The lots as they stand when `extra` is left in the pool: what was spent came from those that expire first.
///
/// Ordered by their end, the one without end last. Nothing has come into the pool since they were settled.
pub fn settled(mut lots: Vec<Lot>, extra: Credits) -> Vec<Lot> {
    lots.sort_by_key(|lot| (lot.expires_at.is_none(), lot.expires_at, lot.seq));
    let mut spent = sum(&lots).minus(extra).unwrap_or(Credits::ZERO);
    for lot in &mut lots {
        let from_here = spent.min(lot.remaining).max(Credits::ZERO);
        lot.remaining = lot.remaining.minus(from_here).unwrap_or(Credits::ZERO);
        spent = spent.minus(from_here).unwrap_or(Credits::ZERO);
    }
    lots
}

/// Credits in all of them.
fn sum(lots: &[Lot]) -> Credits {
    lots.iter().fold(Credits::ZERO, |sum, lot| sum.plus(lot.remaining).unwrap_or(Credits::MAX))
}

/// Those that are over at `now`, and those that are not.
pub fn split(lots: Vec<Lot>, now: Timestamp) -> (Vec<Lot>, Vec<Lot>) {
    lots.into_iter().partition(|lot| lot.expires_at.is_some_and(|expires_at| expires_at <= now))
}

/// The lots after credits came into a pool that held `extra`: a lot of their own where they expire, else more of what is kept.
///
/// No lot at all is needed where nothing expires.
pub fn with_grant(lots: Vec<Lot>, extra: Credits, new: Lot) -> Result<Vec<Lot>, CreditsOutOfRange> {
    let mut lots = settled(lots, extra);
    if new.expires_at.is_none() && lots.is_empty() {
        return Ok(lots);
    }
    if !lots.iter().any(|lot| lot.seq == KEPT) {
        lots.push(Lot { seq: KEPT, remaining: extra.minus(sum(&lots))?, expires_at: None });
    }
    match lots.iter_mut().find(|lot| lot.seq == KEPT).filter(|_| new.expires_at.is_none()) {
        Some(kept) => kept.remaining = kept.remaining.plus(new.remaining)?,
        None => lots.push(new),
    }
    Ok(lots)
}

/// What must be remembered: nothing where no lot expires any more, and no lot that is spent.
pub fn worth_keeping(lots: Vec<Lot>) -> Vec<Lot> {
    let alive = lots.into_iter().filter(|lot| lot.seq == KEPT || lot.remaining > Credits::ZERO).collect::<Vec<_>>();
    if alive.iter().all(|lot| lot.seq == KEPT) { Vec::new() } else { alive }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credits(count: i64) -> Credits {
        Credits::new(count).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn lot(seq: i64, remaining: i64, expires_at: Option<i64>) -> Lot {
        Lot { seq, remaining: credits(remaining), expires_at: expires_at.map(at) }
    }

    #[test]
    fn what_expires_first_is_spent_first_and_what_never_does_last() {
        let lots = vec![lot(0, 10, None), lot(5, 20, Some(200)), lot(9, 30, Some(100))];

        let left = |extra: i64| settled(lots.clone(), credits(extra)).iter().map(|lot| (lot.seq, lot.remaining.get())).collect::<Vec<_>>();

        assert_eq!(left(60), [(9, 30), (5, 20), (0, 10)]);
        assert_eq!(left(25), [(9, 0), (5, 15), (0, 10)]);
        assert_eq!(left(4), [(9, 0), (5, 0), (0, 4)]);
        let (over, alive) = split(settled(lots, credits(40)), at(100));
        assert_eq!((over, alive.len()), (vec![lot(9, 10, Some(100))], 2));
    }

    #[test]
    fn credits_without_end_need_no_lot_until_some_expire() {
        assert_eq!(with_grant(Vec::new(), credits(7), lot(3, 5, None)), Ok(Vec::new()));
        let first = with_grant(Vec::new(), credits(7), lot(3, 5, Some(100))).unwrap();
        assert_eq!(first, [lot(0, 7, None), lot(3, 5, Some(100))]);
        let more = with_grant(first, credits(10), lot(8, 2, None)).unwrap();
        assert_eq!(more, [lot(3, 3, Some(100)), lot(0, 9, None)]);
        assert_eq!(worth_keeping(vec![lot(3, 0, Some(100)), lot(0, 9, None)]), []);
    }

    proptest! {
        /// Settling late is settling each time: between two settlements only spending happens.
        #[test]
        fn settling_once_is_settling_after_every_spend(lots in prop::collection::vec((1i64..9, 0i64..50, 1i64..9), 1..6), spends in prop::collection::vec(1i64..40, 0..8)) {
            let lots = lots.iter().enumerate().map(|(at, (_, remaining, end))| lot(i64::try_from(at).unwrap() + 1, *remaining, Some(*end))).collect::<Vec<_>>();
            let (mut pool, mut stepwise) = (sum(&lots).get(), lots.clone());
            for spend in spends.iter().filter(|spend| **spend > 0) {
                pool -= (*spend).min(pool);
                stepwise = settled(stepwise, credits(pool));
            }
            prop_assert_eq!(settled(lots, credits(pool)), settled(stepwise, credits(pool)));
        }
    }
}
