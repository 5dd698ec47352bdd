//! What was seen of a cluster, and when each object was last read: a local file.
//!
//! Losing it costs one more reading, and the memory of what was there. The file has a line `revkeep-ledger 1`, one of the
//! head that was seen (`head TIMELINE REVISION HEARTBEAT`), one for each object (when it was proven in seconds since 1970, 0 for
//! never, -1 where its absence is accepted, or -2 where it was found damaged; its bytes; its name in the cluster's folder), one
//! for each that outlasted a round of deletions (`outlasted ROUND NAME`), and the SHA-256 of all before.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use revkeep_schemas::Revision;
use revkeep_schemas::names::{ClusterName, TimelineId, VaultId};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{ErrorKind, VaultError};
use crate::vault::Vault;

/// In the place of when an object was proven: that it is missing was accepted.
const ACCEPTED: i64 = -1;
/// In the place of when an object was proven: what was read of it last was damaged. Below all others, so that it is read first.
const DAMAGED: i64 = -2;
const FIRST_LINE: &str = "revkeep-ledger 1";

/// Timeline and durable revision of a head, and its heartbeat in milliseconds since 1970.
type SeenHead = ((TimelineId, Revision), i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    /// 0 for one that was listed and never read, [`ACCEPTED`] for one that is missing for good, [`DAMAGED`] for one that was
    /// read and not what it should be.
    proven_unix_s: i64,
}

/// What was seen of one cluster.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    head: Option<SeenHead>,
    seen: HashMap<String, Seen>,
    /// Objects that were to be deleted and were there when that was over, with the round.
    outlasted: HashMap<String, u32>,
}

/// The folder of a vault's ledgers. A copy elsewhere has the same id, and what was read of one proves nothing of the other: the
/// place is the store as it was opened, whatever of it the URL said and whatever the environment.
fn folder_of(folder: &Path, place: &str, vault: VaultId) -> PathBuf {
    folder.join(format!("{vault}-{:016x}", xxh3_64(place.as_bytes())))
}

impl Ledger {
    /// The ledger of a cluster in a folder; an empty one where there is none, or where the file is damaged, which is warned of.
    ///
    /// # Errors
    /// `Config` when the file is there and cannot be read.
    pub fn open(folder: &Path, vault: &Vault, cluster: &ClusterName) -> Result<Self, VaultError> {
        Self::read_at(&folder_of(folder, &vault.place, vault.id), cluster)
    }

    /// The clusters of a vault that there are ledgers of, sorted. One that is gone from the vault altogether is no more in any
    /// listing of it, and what is missing of it is found by verifying it all the same.
    ///
    /// # Errors
    /// `Config` when the folder is there and cannot be read.
    pub fn clusters(folder: &Path, vault: &Vault) -> Result<Vec<ClusterName>, VaultError> {
        let folder = folder_of(folder, &vault.place, vault.id);
        let failed = |error| {
            let message = format!("read the folder of ledgers {}", folder.display());
            VaultError::new(ErrorKind::Config, message).with_source(error)
        };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut clusters = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            // What is being written begins with a dot, which no cluster does.
            clusters.extend(name.to_str().and_then(|name| ClusterName::new(name).ok()));
        }
        clusters.sort_unstable();
        Ok(clusters)
    }

    fn read_at(folder: &Path, cluster: &ClusterName) -> Result<Self, VaultError> {
        let mut ledger = Self {
            path: folder.join(cluster.as_str()),
            head: None,
            seen: HashMap::new(),
            outlasted: HashMap::new(),
        };
        let text = match fs::read_to_string(&ledger.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ledger),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => String::new(),
            text => text.map_err(|error| ledger.failed("read", error))?,
        };
        if ledger.read(&text).is_none() {
            tracing::warn!(
                file = %ledger.path.display(),
                "the ledger is damaged and begun anew: what is missing since then is only found where something points to it"
            );
            ledger.head = None;
            ledger.seen.clear();
            ledger.outlasted.clear();
        }
        Ok(ledger)
    }

    fn read(&mut self, text: &str) -> Option<()> {
        let (body, hash) = text.trim_end().rsplit_once('\n')?;
        if hash_of(body) != hash {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        for line in lines {
            let mut words = line.splitn(3, ' ');
            let (one, two, three) = (words.next()?, words.next()?, words.next()?);
            if one == "head" {
                let (revision, heartbeat) = three.split_once(' ')?;
                let at = (two.parse().ok()?, Revision(revision.parse().ok()?));
                self.head = Some((at, heartbeat.parse().ok()?));
                continue;
            }
            if one == "outlasted" {
                self.outlasted.insert(three.to_owned(), two.parse().ok()?);
                continue;
            }
            let seen = Seen {
                proven_unix_s: one.parse().ok()?,
                bytes: two.parse().ok()?,
            };
            self.seen.insert(three.to_owned(), seen);
        }
        Some(())
    }

    /// Writes the file anew, whole or not at all.
    ///
    /// # Errors
    /// `Config` when it cannot be written.
    pub fn save(&self) -> Result<(), VaultError> {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(((timeline, revision), heartbeat)) = self.head {
            let _infallible = writeln!(text, "head {timeline} {revision} {heartbeat}");
        }
        let mut names: Vec<_> = self.seen.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        for (name, seen) in names {
            let _infallible = writeln!(text, "{} {} {name}", seen.proven_unix_s, seen.bytes);
        }
        let mut outlasted: Vec<_> = self.outlasted.iter().collect();
        outlasted.sort();
        for (name, round) in outlasted {
            let _infallible = writeln!(text, "outlasted {round} {name}");
        }
        let body = text.trim_end();
        let whole = format!("{body}\n{}\n", hash_of(body));
        let write = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            let scratch = folder.join(format!(".{name}.{}.new", std::process::id()));
            let mut file = fs::File::create(&scratch)?;
            file.write_all(whole.as_bytes())?;
            file.sync_all()?;
            fs::rename(&scratch, &self.path)
        };
        write().map_err(|error| self.failed("write", error))
    }

    fn failed(&self, verb: &str, error: std::io::Error) -> VaultError {
        let message = format!(
            "{verb} the ledger {}: mend its permissions, or name another folder",
            self.path.display()
        );
        VaultError::new(ErrorKind::Config, message).with_source(error)
    }

    /// Whether an object was not read within the period. They come due one after the other within its last eighth, so that
    /// what was read in one go is not due in one go for ever.
    pub(super) fn is_due(
        &self,
        name: &str,
        bytes: u64,
        now: DateTime<Utc>,
        period: Duration,
    ) -> bool {
        let Some(seen) = self.seen.get(name).filter(|seen| seen.bytes == bytes) else {
            return true;
        };
        let period = period.as_secs();
        let early = xxh3_64(name.as_bytes()) % (period / 8).max(1);
        let age = now.timestamp().saturating_sub(seen.proven_unix_s);
        // One of the future was noted by a clock that was wrong.
        seen.proven_unix_s <= 0
            || u64::try_from(age).is_ok_and(|age| age >= period.saturating_sub(early))
            || age < 0
    }

    /// When an object was last proven, in seconds since 1970; 0 for never, less for one that was found damaged.
    pub(super) fn proven(&self, name: &str) -> i64 {
        self.seen.get(name).map_or(0, |seen| seen.proven_unix_s)
    }

    /// Notes that an object was listed.
    pub(super) fn saw(&mut self, name: &str, bytes: u64) {
        let seen = self.seen.entry(name.to_owned()).or_insert(Seen {
            bytes,
            proven_unix_s: 0,
        });
        if seen.bytes != bytes || seen.proven_unix_s == ACCEPTED {
            *seen = Seen {
                bytes,
                proven_unix_s: 0,
            };
        }
    }

    /// Notes that an object was proven.
    pub(super) fn note(&mut self, name: &str, proven_unix_s: i64) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.proven_unix_s = proven_unix_s;
        }
    }

    /// Notes that an object is not what it should be: it is read first from now on.
    pub(super) fn damaged(&mut self, name: &str) {
        self.note(name, DAMAGED);
    }

    /// Whether what was read of an object last was damaged.
    pub(super) fn is_damaged(&self, name: &str) -> bool {
        self.proven(name) == DAMAGED
    }

    /// Notes that an object was there after a round was to delete it.
    pub(super) fn outlasted(&mut self, name: &str, round: u32) {
        self.outlasted.insert(name.to_owned(), round);
    }

    /// The newest round that an object outlasted.
    pub(super) fn has_outlasted(&self, name: &str) -> Option<u32> {
        self.outlasted.get(name).copied()
    }

    /// What was seen and is not among `there`.
    pub(super) fn absent(&self, there: impl Fn(&str) -> bool) -> Vec<String> {
        let mut absent: Vec<_> = self.seen.keys().filter(|name| !there(name)).collect();
        absent.sort();
        absent.into_iter().cloned().collect()
    }

    /// Notes that an object is missing for good.
    pub(super) fn accept(&mut self, name: &str) {
        self.note(name, ACCEPTED);
    }

    /// Whether it was accepted that an object is missing.
    pub(super) fn is_accepted(&self, name: &str) -> bool {
        self.proven(name) == ACCEPTED
    }

    /// Forgets an object that went with notice.
    pub(super) fn forget(&mut self, name: &str) {
        self.seen.remove(name);
        self.outlasted.remove(name);
    }

    /// The newest head that was seen.
    pub(super) fn head(&self) -> Option<SeenHead> {
        self.head
    }

    /// Notes a head, unless a newer one was seen.
    pub(super) fn saw_head(&mut self, at: (TimelineId, Revision), heartbeat_unix_ms: i64) {
        self.head = self.head.max(Some((at, heartbeat_unix_ms)));
    }
}

fn hash_of(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text) {
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_at(folder: &Path, place: &str) -> Ledger {
        let cluster = ClusterName::new("c").unwrap();
        Ledger::read_at(&folder_of(folder, place, VaultId([7; 16])), &cluster).unwrap()
    }

    fn open(folder: &Path) -> Ledger {
        open_at(folder, "file:///v")
    }

    #[test]
    fn what_was_noted_is_there_again_and_damage_forgets_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = open(folder.path());
        ledger.saw("a b", 5);
        ledger.saw("c", 7);
        ledger.note("c", 1_000);
        ledger.outlasted("c", 3);
        ledger.saw("bad", 7);
        ledger.damaged("bad");
        ledger.saw_head((TimelineId(2), Revision(9)), 5);
        ledger.saw_head((TimelineId(1), Revision(99)), 6);
        ledger.save().unwrap();
        let again = open(folder.path());
        assert_eq!((&again.seen, again.head), (&ledger.seen, ledger.head));
        assert_eq!(
            (again.has_outlasted("c"), again.has_outlasted("a b")),
            (Some(3), None)
        );
        assert!(again.is_damaged("bad") && !again.is_damaged("c"));
        assert!(
            again.proven("bad") < again.proven("a b"),
            "it is read first"
        );
        assert_eq!(again.head, Some(((TimelineId(2), Revision(9)), 5)));

        let copy = open_at(folder.path(), "s3://copy");
        assert!(
            copy.seen.is_empty(),
            "a copy proves nothing, and is not proven"
        );

        let text = fs::read_to_string(&ledger.path).unwrap();
        fs::write(&ledger.path, text.replace("1000 7 c", "9000 7 c")).unwrap();
        assert!(open(folder.path()).seen.is_empty());
        fs::write(&ledger.path, [0xff, 0xfe]).unwrap();
        assert!(open(folder.path()).seen.is_empty());
    }

    #[test]
    fn each_object_is_due_once_a_period_and_new_bytes_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = open(folder.path());
        let period = Duration::from_secs(8_000);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert!(ledger.is_due("c", 7, at(0), period), "never seen");
        ledger.saw("c", 7);
        assert!(ledger.is_due("c", 7, at(0), period), "never read");
        ledger.note("c", 1_000);
        assert!(!ledger.is_due("c", 7, at(7_999), period));
        assert!(ledger.is_due("c", 7, at(9_000), period));
        assert!(ledger.is_due("c", 8, at(1_001), period), "another size");
        assert!(ledger.is_due("c", 7, at(1_000), Duration::ZERO));
        assert!(
            ledger.is_due("c", 7, at(999), period),
            "by a clock that was wrong"
        );
        let spread = (0..64).filter(|n| {
            let name = format!("{n}");
            ledger.saw(&name, 1);
            ledger.note(&name, 1_000);
            ledger.is_due(&name, 1, at(8_500), period)
        });
        let spread = spread.count();
        assert!((8..56).contains(&spread), "{spread}");
    }
}
