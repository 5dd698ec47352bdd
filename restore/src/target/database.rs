//! The db file of the result.

use std::collections::BTreeMap;
use std::path::Path;

use revkeep_schemas::boltdb::{
    DbOptions, DbWriter, FINISHED_COMPACT_REV, KEY_BUCKET, META_BUCKET, SCHEDULED_COMPACT_REV,
    UnsyncedDb,
};
use revkeep_schemas::compaction::LiveIndex;
use revkeep_schemas::hashkv::HashView;
use revkeep_schemas::manifest::SmallBucket;
use revkeep_schemas::member::{RestoredCluster, backend_rows, survives_restore};
use revkeep_schemas::{Revision, Row, RowKey};

use crate::error::RestoreError;
use crate::leases::{LeaseRule, detached, lease_rows};
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
    /// The rows, as they were proved.
    pub replayed: Replayed,
    /// Rows in the file.
    pub rows: u64,
    /// HashKV over them, at the target and the compact revision.
    pub hash: u32,
    /// Leases in the file.
    pub leases: usize,
    /// Rows whose lease was taken off.
    pub detached_rows: u64,
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
    let mut detaching = (recipe.leases == LeaseRule::Detach).then(|| Detaching {
        view: recipe.result_view(),
        rows: 0,
    });
    let put = |row: &Row<'_>| {
        parts.note(row);
        match &mut detaching {
            None => Ok(db.put_row(row)?),
            Some(detaching) => detaching.put(row, index, &mut db),
        }
    };
    let replayed = Replay::new(recipe, index, seed).run(batches, put, progress)?;
    let mut rows = replayed.rows;
    if let Some(bumped) = recipe.bumped {
        db.put_row(&bump_row(bumped))?;
        rows += 1;
    }
    db.end_bucket()?;
    let leases = lease_rows(&replayed.leases, contents.granted, recipe.leases);
    let lease_count = leases.rows.len();
    db.write_bucket(b"lease", leases.rows)?;
    for (name, rows) in small_buckets(recipe, contents)? {
        db.write_bucket(&name, rows)?;
    }
    let (summary, unsynced) = db.finish_unsynced()?;
    let (hash, detached_rows) = match detaching {
        None => (replayed.hash, 0),
        Some(detaching) => (detaching.view.finish(), detaching.rows),
    };
    let built = Built {
        bytes: summary.bytes,
        synthesised_leases: leases.synthesised,
        part_starts: parts.starts,
        rows,
        hash,
        leases: lease_count,
        detached_rows,
        replayed,
    };
    Ok((built, unsynced))
}

/// The row that a bumped revision leaves: without key and value, as etcd's own tool writes it.
pub(super) fn bump_row(bumped: Revision) -> Row<'static> {
    Row {
        key: RowKey {
            main: bumped,
            sub: 0,
            tombstone: false,
        },
        value: &[],
    }
}

/// Takes leases off rows that were proved, and folds the hash that the result then has.
#[derive(Debug)]
struct Detaching {
    view: HashView,
    rows: u64,
}

impl Detaching {
    fn put(
        &mut self,
        row: &Row<'_>,
        index: &LiveIndex,
        db: &mut DbWriter,
    ) -> Result<(), RestoreError> {
        let without = detached(row.value)?;
        self.rows += u64::from(without.is_some());
        let row = Row {
            key: row.key,
            value: without.as_deref().unwrap_or(row.value),
        };
        self.view.update(&row, index, Recipe::AT_TARGET)?;
        Ok(db.put_row(&row)?)
    }
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
    recipe: &Recipe,
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
    let finished = recipe.compact_revision;
    // A server that finds more scheduled than finished goes on with the compaction.
    let scheduled = recipe.bumped.unwrap_or(finished);
    for (name, compact_revision) in [
        (SCHEDULED_COMPACT_REV, scheduled),
        (FINISHED_COMPACT_REV, finished),
    ] {
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
