//! The db file of the result.

use std::collections::BTreeMap;
use std::path::Path;

use revkeep_schemas::boltdb::{
    DbOptions, DbWriter, FINISHED_COMPACT_REV, KEY_BUCKET, META_BUCKET, SCHEDULED_COMPACT_REV,
    UnsyncedDb,
};
use revkeep_schemas::compaction::LiveIndex;
use revkeep_schemas::manifest::SmallBucket;
use revkeep_schemas::member::{RestoredCluster, backend_rows, survives_restore};
use revkeep_schemas::{Revision, Row, RowKey};

use crate::error::RestoreError;
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

/// Bytes of rows that one thread reads back at a time.
const PART_BYTES: u64 = 16 << 20;

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
    /// Revisions that cut the rows into parts of some 16 MiB each, without the first.
    pub part_starts: Vec<Revision>,
}

/// Streams rows into a new db file at `path`. It is complete then; the caller makes it durable.
///
/// # Errors
/// What reading, proving and writing report; the file is then worthless.
pub fn build_database(
    path: &Path,
    recipe: &Recipe,
    index: &LiveIndex,
    contents: &Contents<'_>,
    seed: u64,
    batches: &mut impl Batches,
    progress: impl FnMut(u64),
) -> Result<(Built, UnsyncedDb), RestoreError> {
    let options = DbOptions {
        trailer: contents.cluster.is_none(),
        ..DbOptions::default()
    };
    let mut db = DbWriter::create(path, options)?;
    db.begin_bucket(KEY_BUCKET)?;
    let mut parts = PartStarts::default();
    let put = |row: &Row<'_>| {
        parts.note(row);
        Ok(db.put_row(row)?)
    };
    let replayed = Replay::new(recipe, index, seed).run(batches, put, progress)?;
    db.end_bucket()?;
    let leases = lease_rows(&replayed.leases, contents.granted);
    db.write_bucket(b"lease", leases.rows)?;
    for (name, rows) in small_buckets(recipe.compact_revision, contents)? {
        db.write_bucket(&name, rows)?;
    }
    let (summary, unsynced) = db.finish_unsynced()?;
    let built = Built {
        bytes: summary.bytes,
        synthesised_leases: leases.synthesised,
        part_starts: parts.starts,
        replayed,
    };
    Ok((built, unsynced))
}

/// Cuts a stream of rows between revisions, so that several threads can read it later.
#[derive(Debug, Default)]
struct PartStarts {
    bytes: u64,
    last: Revision,
    starts: Vec<Revision>,
}

impl PartStarts {
    fn note(&mut self, row: &Row<'_>) {
        if self.bytes >= PART_BYTES && row.key.main > self.last {
            self.starts.push(row.key.main);
            self.bytes = 0;
        }
        self.bytes += row.encoded_len() as u64;
        self.last = row.key.main;
    }
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
