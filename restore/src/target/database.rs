//! The db file of the result.

use std::collections::BTreeMap;
use std::path::Path;

use revkeep_schemas::boltdb::{
    DbFile, DbOptions, DbWriter, FINISHED_COMPACT_REV, KEY_BUCKET, META_BUCKET,
    SCHEDULED_COMPACT_REV,
};
use revkeep_schemas::compaction::LiveIndex;
use revkeep_schemas::manifest::SmallBucket;
use revkeep_schemas::member::{RestoredCluster, backend_rows, survives_restore};
use revkeep_schemas::{Revision, RowKey, RowSource};

use crate::error::{Kind, RestoreError};
use crate::leases::lease_rows;
use crate::replay::{Batches, Recipe, Replay, Replayed};

/// All buckets of an etcd server, which makes those that are missing (etcd, `server/storage/schema/bucket.go`).
const BUCKETS: [&[u8]; 10] = [
    KEY_BUCKET,
    META_BUCKET,
    b"lease",
    b"alarm",
    b"cluster",
    b"members",
    b"members_removed",
    b"auth",
    b"authUsers",
    b"authRoles",
];

/// What the database says besides its rows.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The base's buckets other than `key`.
    pub buckets: &'a [SmallBucket],
    /// The cluster to boot into; without one the source's Raft position stays, as in a snapshot.
    pub cluster: Option<&'a RestoredCluster>,
    /// The granted TTL of leases, in seconds, by id.
    pub granted: &'a BTreeMap<i64, i64>,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The rows.
    pub replayed: Replayed,
    /// Bytes of the file.
    pub bytes: u64,
    /// Leases whose TTL had to be made up.
    pub synthesised_leases: Vec<i64>,
}

/// Streams rows into a new db file at `path` and syncs it.
///
/// # Errors
/// What reading, proving and writing report; the file is then worthless.
pub fn build_database(
    path: &Path,
    recipe: &Recipe,
    index: &LiveIndex,
    contents: &Contents<'_>,
    batches: &mut impl Batches,
    progress: impl FnMut(u64),
) -> Result<Built, RestoreError> {
    let options = DbOptions {
        trailer: contents.cluster.is_none(),
        ..DbOptions::default()
    };
    let mut db = DbWriter::create(path, options)?;
    db.begin_bucket(KEY_BUCKET)?;
    let replayed = Replay::new(recipe, index).run(batches, |row| Ok(db.put_row(row)?), progress)?;
    db.end_bucket()?;
    let leases = lease_rows(&replayed.leases, contents.granted);
    db.write_bucket(b"lease", leases.rows)?;
    for (name, rows) in small_buckets(recipe.compact_revision, contents)? {
        db.write_bucket(&name, rows)?;
    }
    Ok(Built {
        bytes: db.finish()?.bytes,
        synthesised_leases: leases.synthesised,
        replayed,
    })
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// All buckets but rows and leases.
fn small_buckets(
    compact_revision: Revision,
    contents: &Contents<'_>,
) -> Result<BTreeMap<Vec<u8>, Rows>, RestoreError> {
    let mut buckets: BTreeMap<Vec<u8>, Rows> = BUCKETS
        .iter()
        .map(|name| (name.to_vec(), Rows::new()))
        .collect();
    for bucket in contents.buckets {
        let rows = buckets.entry(bucket.name.clone()).or_default();
        let kept = bucket.entries.iter().filter(|(key, _)| {
            survives_restore(&bucket.name, key)
                || contents.cluster.is_none() && is_raft_position(&bucket.name, key)
        });
        rows.extend(kept.cloned());
    }
    buckets.remove(KEY_BUCKET);
    buckets.remove(b"lease".as_slice());
    let meta = buckets.entry(META_BUCKET.to_vec()).or_default();
    for name in [SCHEDULED_COMPACT_REV, FINISHED_COMPACT_REV] {
        meta.remove(name);
        if compact_revision > Revision::ZERO {
            let at = RowKey {
                main: compact_revision,
                sub: 0,
                tombstone: false,
            };
            meta.insert(name.to_vec(), at.encode().to_vec());
        }
    }
    if let Some(cluster) = contents.cluster {
        let rows = backend_rows(cluster)?;
        meta.extend(rows.meta);
        let members = buckets.entry(b"members".to_vec()).or_default();
        members.extend(rows.members);
    }
    Ok(buckets)
}

fn is_raft_position(bucket: &[u8], key: &[u8]) -> bool {
    bucket == META_BUCKET && matches!(key, b"consistent_index" | b"term")
}

/// Reads the finished file back as a server would and compares its rows and their HashKV with what was meant to be
/// written. `at_times` is asked every MiB whether to go on.
///
/// # Errors
/// [`Kind::Verification`] for a difference, and what `at_times` says.
pub fn read_back(
    path: &Path,
    recipe: &Recipe,
    index: &LiveIndex,
    built: &Built,
    mut at_times: impl FnMut() -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let db = DbFile::open(path)?;
    let mut rows = db.rows()?;
    let mut view = recipe.result_view();
    let mut count = 0_u64;
    let mut bytes = 0_u64;
    while let Some(row) = rows.next_row()? {
        view.update(&row, index, Recipe::AT_TARGET)?;
        count += 1;
        bytes += row.encoded_len() as u64;
        if bytes >= 1 << 20 {
            bytes = 0;
            at_times()?;
        }
    }
    let hash = view.finish();
    if (hash, count) == (built.replayed.hash, built.replayed.rows) {
        return Ok(());
    }
    Err(RestoreError::new(
        Kind::Verification,
        format!(
            "{}: {count} rows with HashKV {hash} were read back where {} with {} were written: check this disk; nothing was left at the target",
            path.display(),
            built.replayed.rows,
            built.replayed.hash
        ),
    ))
}
