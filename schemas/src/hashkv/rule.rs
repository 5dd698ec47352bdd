//! The two behaviours around a tombstone that stands exactly at the compact revision.

/// What a server does with a tombstone whose revision is the compact revision C itself.
///
/// etcd changed it (pull requests 18274, 18474 and 18475): the newer rule keeps the row when it compacts, so that a
/// watch from C still sees the deletion, and leaves it out of the hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TombstoneRule {
    /// Compaction removes it, and HashKV has no word about it. etcd before 3.4.34, and 3.5.0 to 3.5.15.
    Counted,
    /// Compaction keeps it, and HashKV skips it. etcd 3.4.34, 3.5.16, 3.6.0 and everything later.
    #[default]
    Skipped,
}

impl TombstoneRule {
    /// The rule of a server by its version, such as `3.5.33`; a leading `v` and a suffix after `-` or `+` are ignored.
    /// What cannot be read counts as new.
    #[must_use]
    pub fn for_version(version: &str) -> Self {
        let version = version.trim().trim_start_matches('v');
        let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok);
        let (Some(major), Some(minor)) = (next(), next()) else {
            return Self::Skipped;
        };
        let patch = next().unwrap_or(0);
        let counted = match (major, minor) {
            (..=2, _) | (3, ..=3) => true,
            (3, 4) => patch < 34,
            (3, 5) => patch < 16,
            _ => false,
        };
        if counted {
            Self::Counted
        } else {
            Self::Skipped
        }
    }
}
