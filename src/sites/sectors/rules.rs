//! How many sectors a site may have.

/// A site has as many sectors as its plan allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the site has {used} of {limit} sectors")]
pub struct SectorLimitReached {
    /// What the plan allows for each site.
    pub limit: i32,
    /// What the site has.
    pub used: i64,
}

/// Whether one more sector fits. `limit` is the plan's; an account without a plan has room for none.
pub fn room_for_one(limit: Option<i32>, used: i64) -> Result<(), SectorLimitReached> {
    let limit = limit.unwrap_or(0);
    if used < i64::from(limit) { Ok(()) } else { Err(SectorLimitReached { limit, used }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sector_fits_and_the_next_does_not() {
        assert_eq!(room_for_one(Some(5), 4), Ok(()));
        assert_eq!(room_for_one(Some(5), 5), Err(SectorLimitReached { limit: 5, used: 5 }));
        assert_eq!(room_for_one(None, 0), Err(SectorLimitReached { limit: 0, used: 0 }));
    }
}
