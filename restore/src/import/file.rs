//! A snapshot file, verified.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use revkeep_schemas::boltdb::{DbFile, KEY_BUCKET, META_BUCKET, Trailer, check_trailer};
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::hashkv::TombstoneRule;
use revkeep_schemas::kv::{KeyValue, key_of};
use revkeep_schemas::manifest::{Checkpoint, SmallBucket};
use revkeep_schemas::snapshot::{BaseRows, Normaliser, Position, small_buckets};
use revkeep_schemas::{FormatError, Revision, Row, RowSource};

use crate::error::{Kind, RestoreError};
use crate::replay::Sequence;

/// Beginnings of files that hold a snapshot, but packed.
const PACKED: [(&[u8], &str); 3] = [
    (b"PK\x03\x04", "unzip"),
    (b"\x1f\x8b", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "unzstd"),
];

/// What the operator says of a file, since it does not say it itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The release of the member that it is of.
    pub etcd_version: Option<String>,
    /// When it was taken, in milliseconds since 1970.
    pub taken_unix_ms: Option<i64>,
}

/// A file that is a whole etcd snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// The open file.
    pub db: DbFile,
    /// Where it stands.
    pub position: Position,
    /// The member's release, as far as it is known: `3.5` where the file does not say more.
    pub etcd_version: String,
    /// Whether it carries a SHA-256 over itself.
    pub trailer: Trailer,
    /// When it was taken, in milliseconds since 1970: as told, or when the file was last changed.
    pub taken_unix_ms: i64,
    /// Whether that was told.
    pub taken_is_told: bool,
    /// The rows of its base.
    pub rows: u64,
    /// Their digest.
    pub digest: RowDigest,
    /// The digest of the rows of its last revision alone.
    pub last: RowDigest,
    /// Their HashKV at its revision and compact revision.
    pub hash: u32,
    /// Its other buckets.
    pub buckets: Vec<SmallBucket>,
}

impl SnapshotFile {
    /// Opens a file and reads all of it: its SHA-256 where it has one, every page, and of every row whether a member would have
    /// written it there. Blocks.
    ///
    /// # Errors
    /// [`Kind::Verification`] for a file that is damaged or no etcd database, [`Kind::Invalid`] for one that is packed.
    pub fn open(path: &Path, told: &Told) -> Result<Self, RestoreError> {
        let changed = refuse_packed(path)?;
        let refused = |error: FormatError| {
            let kind = match error {
                FormatError::Io { .. } => Kind::Failed,
                _ => Kind::Verification,
            };
            RestoreError::new(
                kind,
                format!(
                    "{} is no sound etcd snapshot, and was not imported",
                    path.display()
                ),
            )
            .because(error)
        };
        let trailer = check_trailer(path).map_err(refused)?;
        let db = DbFile::open(path).map_err(refused)?;
        for name in [KEY_BUCKET, META_BUCKET] {
            if db.bucket(name).map_err(refused)?.is_none() {
                return Err(RestoreError::new(
                    Kind::Verification,
                    format!(
                        "{} is a bbolt database, but not one of etcd: it has no bucket {:?}",
                        path.display(),
                        String::from_utf8_lossy(name)
                    ),
                ));
            }
        }
        let position = Position::of(&db).map_err(refused)?;
        let buckets = small_buckets(&db).map_err(refused)?;
        let tombstone = check_rows(&db, position).map_err(|error| match error {
            Wrong::Format(error) => refused(error),
            Wrong::Sequence(error) => RestoreError::new(
                error.kind(),
                format!("{} was not imported: {error}", path.display()),
            ),
        })?;
        let etcd_version = match &told.etcd_version {
            Some(version) => version.clone(),
            None => version(&buckets, tombstone),
        };
        let mut file = Self {
            path: path.to_path_buf(),
            position,
            etcd_version,
            trailer,
            taken_unix_ms: told.taken_unix_ms.unwrap_or(changed),
            taken_is_told: told.taken_unix_ms.is_some(),
            rows: 0,
            digest: RowDigest::default(),
            last: RowDigest::default(),
            hash: 0,
            buckets,
            db,
        };
        file.fold().map_err(refused)?;
        Ok(file)
    }

    /// The rule of the member's release.
    #[must_use]
    pub fn rule(&self) -> TombstoneRule {
        TombstoneRule::for_version(&self.etcd_version)
    }

    /// The rows as they are after a compaction at `compact_revision`, which is at least the file's own, and at most its
    /// revision.
    ///
    /// # Errors
    /// As reading the file does.
    pub fn rows_at(
        &self,
        compact_revision: Revision,
        rule: TombstoneRule,
    ) -> Result<BaseRows, FormatError> {
        let position = Position {
            compact_revision: compact_revision.max(self.position.compact_revision),
            ..self.position
        };
        BaseRows::new(
            &self.db,
            Normaliser::read(&self.db, position, rule, rand::random())?,
        )
    }

    /// Takes a file that was last changed before its revision was first seen, as agents noted, for one that was taken when it was
    /// seen: times of files are easily wrong. Gives that time. What was told counts.
    pub fn not_taken_before(&mut self, seen_unix_ms: Option<i64>) -> Option<i64> {
        let later = seen_unix_ms.filter(|seen| !self.taken_is_told && self.taken_unix_ms < *seen);
        if let Some(seen) = later {
            self.taken_unix_ms = seen;
        }
        later
    }

    fn fold(&mut self) -> Result<(), FormatError> {
        let at = self.position;
        let mut rows = self.rows_at(at.compact_revision, self.rule())?;
        while let Some(row) = rows.next_row()? {
            self.rows += 1;
            self.digest.add(&row);
            if row.key.main == at.revision {
                self.last.add(&row);
            }
        }
        let normaliser = Normaliser::read(&self.db, at, self.rule(), rand::random())?;
        let asked = Checkpoint {
            revision: at.revision,
            compact_revision: at.compact_revision,
            hash: 0,
        };
        self.hash = normaliser.hash_as(&self.db, asked)?.unwrap_or_default();
        Ok(())
    }

    /// A number of the bucket `meta`, eight bytes, big-endian; zero where there is none.
    #[must_use]
    pub fn meta(&self, name: &[u8]) -> u64 {
        entry(&self.buckets, META_BUCKET, name)
            .and_then(|value| value.try_into().ok())
            .map_or(0, u64::from_be_bytes)
    }
}

/// Refuses what can be unpacked; gives when the file was last changed.
fn refuse_packed(path: &Path) -> Result<i64, RestoreError> {
    let open = || RestoreError::io(format!("open {}", path.display()));
    let file = File::open(path).map_err(open())?;
    let changed = file.metadata().and_then(|meta| meta.modified());
    let changed = changed.map_err(open())?;
    let mut beginning = Vec::new();
    file.take(4).read_to_end(&mut beginning).map_err(open())?;
    for (magic, tool) in PACKED {
        if beginning.starts_with(magic) {
            return Err(RestoreError::new(
                Kind::Invalid,
                format!(
                    "{} is packed. Try: {tool}, and import what comes out",
                    path.display()
                ),
            ));
        }
    }
    let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

enum Wrong {
    Format(FormatError),
    Sequence(RestoreError),
}

/// Reads all rows: each revision above the compact one has its rows, and each value is what a member writes there. Says
/// whether a tombstone stands exactly at the revision at which compaction has finished.
fn check_rows(db: &DbFile, position: Position) -> Result<bool, Wrong> {
    let mut sequence = Sequence::new(position.compact_revision);
    let mut rows = db.rows().map_err(Wrong::Format)?;
    let mut tombstone = false;
    while let Some(row) = rows.next_row().map_err(Wrong::Format)? {
        check_row(&row).map_err(Wrong::Format)?;
        sequence.admit(row.key).map_err(Wrong::Sequence)?;
        tombstone |= row.key.tombstone && row.key.main == position.compacted;
    }
    Ok(tombstone)
}

fn check_row(row: &Row<'_>) -> Result<(), FormatError> {
    let wrong = |expected: &str, found: String| {
        let what = format!("row {}_{}", row.key.main, row.key.sub);
        Err(FormatError::corrupt(what, 0, expected, found))
    };
    if row.key.tombstone {
        return match key_of(row.value)? {
            [] => wrong("the key that was deleted", "none".to_owned()),
            _ => Ok(()),
        };
    }
    // What `snapshot restore --bump-revision` leaves.
    if row.value.is_empty() {
        return Ok(());
    }
    let kv = KeyValue::decode(row.value)?;
    if kv.key.is_empty() || kv.mod_revision != row.key.main.0 {
        return wrong(
            "a key that was changed at this revision",
            format!("key {:02x?} changed at {}", kv.key, kv.mod_revision),
        );
    }
    Ok(())
}

fn entry<'a>(buckets: &'a [SmallBucket], bucket: &[u8], key: &[u8]) -> Option<&'a [u8]> {
    let bucket = buckets.iter().find(|known| known.name == bucket)?;
    let entry = bucket.entries.iter().find(|(known, _)| known == key)?;
    Some(&entry.1)
}

/// The series, from what servers note in their file: the storage version from 3.6 on, the cluster's version before (etcd,
/// `server/storage/schema/schema.go`). A tombstone that compaction left at its revision tells a later patch release.
fn version(buckets: &[SmallBucket], tombstone: bool) -> String {
    let noted = entry(buckets, META_BUCKET, b"storageVersion")
        .or_else(|| entry(buckets, b"cluster", b"clusterVersion"));
    let noted = noted.map(|text| String::from_utf8_lossy(text).into_owned());
    let series = noted.as_deref().and_then(|text| {
        let mut numbers = text.split('.');
        let (major, minor) = (numbers.next()?, numbers.next()?);
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (number(major) && number(minor)).then(|| format!("{major}.{minor}"))
    });
    let series = series.unwrap_or_else(|| {
        // Only 3.4 and older note no term.
        let term = entry(buckets, META_BUCKET, b"term").is_some();
        if term { "3.5" } else { "3.4" }.to_owned()
    });
    match (series.as_str(), tombstone) {
        ("3.4", true) => "3.4.34+".to_owned(),
        ("3.5", true) => "3.5.16+".to_owned(),
        _ => series,
    }
}
