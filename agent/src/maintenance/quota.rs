//! How near a member's file is to its quota. Pure.

/// How near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaLevel {
    /// Below 80 %.
    Fine,
    /// From 80 % on: time to compact and defragment, or to raise it.
    Near,
    /// From 95 % on: writes are about to be refused.
    Reached,
}

/// The level of a file of so many bytes.
#[must_use]
pub const fn level(db_bytes: u64, quota_bytes: u64) -> QuotaLevel {
    let (db, quota) = (db_bytes as u128 * 100, quota_bytes as u128);
    if db >= quota * 95 {
        QuotaLevel::Reached
    } else if db >= quota * 80 {
        QuotaLevel::Near
    } else {
        QuotaLevel::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_are_at_80_and_95_percent() {
        assert_eq!(level(79, 100), QuotaLevel::Fine);
        assert_eq!(level(80, 100), QuotaLevel::Near);
        assert_eq!(level(94, 100), QuotaLevel::Near);
        assert_eq!(level(95, 100), QuotaLevel::Reached);
        assert_eq!(level(u64::MAX, u64::MAX), QuotaLevel::Reached);
    }
}
