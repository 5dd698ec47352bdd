//! What is known of etcd's releases. Pure.

/// What a release means for a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Tested, and nothing bad is known.
    Good,
    /// Not tested.
    Untested,
    /// Members can diverge (etcd, pull request 13908).
    Diverges,
    /// A slow watch can lose events without a word (etcd, issue 17555); the agent notices, by their revisions.
    LosesEvents,
}

/// Judges a version such as `3.5.1`.
pub(super) fn judge(version: &str) -> Release {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else {
        return Release::Untested;
    };
    match (major, minor, patch) {
        (3, 5, 0..=2) => Release::Diverges,
        (3, 4, 0..=30) | (3, 5, 3..=12) => Release::LosesEvents,
        (3, 4..=7, _) => Release::Good,
        _ => Release::Untested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bugs_are_told_by_release() {
        for (version, release) in [
            ("3.3.27", Release::Untested),
            ("3.4.23", Release::LosesEvents),
            ("3.4.31", Release::Good),
            ("3.5.1", Release::Diverges),
            ("3.5.12", Release::LosesEvents),
            ("3.5.13", Release::Good),
            ("3.6.0-rc.1", Release::Good),
            ("3.7.3", Release::Good),
            ("3.8.0", Release::Untested),
            ("4.0.0", Release::Untested),
            ("new", Release::Untested),
        ] {
            assert_eq!(judge(version), release, "{version}");
        }
    }
}
