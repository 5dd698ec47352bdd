//! Compares what the booted server gives with what was restored.

use revkeep_schemas::Revision;
use revkeep_schemas::hashkv::TombstoneRule;

use crate::error::{Kind, RestoreError};

/// HashKV as the restore computed it.
pub(super) struct Restored {
    pub(super) revision: Revision,
    pub(super) compact_revision: Revision,
    pub(super) hash: u32,
    /// How the source hashes, and its version.
    pub(super) rule: TombstoneRule,
    pub(super) version: String,
}

impl Restored {
    /// Compares it with what the server gives.
    pub(super) fn compare(&self, server: &str, booted: &Booted) -> Result<(), RestoreError> {
        let compacted = booted.compact_revision.max(0);
        if (booted.hash, compacted) == (self.hash, self.compact_revision.0.max(0)) {
            return Ok(());
        }
        if TombstoneRule::for_version(&booted.version) != self.rule {
            return Err(RestoreError::new(
                Kind::Invalid,
                format!(
                    "{server} {} hashes deletions at the compact revision otherwise than the source ({}), so that their HashKV differ. Try: \
                     another release with --etcd-bin",
                    booted.version, self.version
                ),
            ));
        }
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "the booted server gives HashKV {} at revision {} (compact revision {}), the restore computed {} (compact revision {})",
                booted.hash,
                self.revision,
                booted.compact_revision,
                self.hash,
                self.compact_revision
            ),
        ))
    }
}

/// What the booted server says of itself.
pub(super) struct Booted {
    pub(super) hash: u32,
    pub(super) compact_revision: i64,
    pub(super) version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hash_of_the_booted_server_is_told() {
        let restored = Restored {
            revision: Revision(9),
            compact_revision: Revision(4),
            hash: 77,
            rule: TombstoneRule::for_version("3.5.21"),
            version: "3.5.21".to_owned(),
        };
        let compare = |hash, compact_revision, version: &str| {
            let booted = Booted {
                hash,
                compact_revision,
                version: version.to_owned(),
            };
            restored
                .compare("etcd", &booted)
                .map_err(|error| error.kind())
        };
        assert_eq!(compare(77, 4, "3.5.21"), Ok(()));
        assert_eq!(compare(78, 4, "3.5.21"), Err(Kind::Verification));
        assert_eq!(compare(77, 5, "3.5.21"), Err(Kind::Verification));
        // Where another release hashes otherwise, nothing is said of the backup.
        let other = ["3.4.23", "3.5.1", "3.6.16"];
        let other = other
            .into_iter()
            .find(|version| TombstoneRule::for_version(version) != restored.rule);
        assert_eq!(compare(78, 4, other.unwrap()), Err(Kind::Invalid));
        // Never compacted is told as -1 or 0.
        let restored = Restored {
            compact_revision: Revision::ZERO,
            ..restored
        };
        let booted = Booted {
            hash: 77,
            compact_revision: -1,
            version: "3.5.21".to_owned(),
        };
        assert!(restored.compare("etcd", &booted).is_ok());
    }
}
