//! Hashes by which members compare what they have.

use crc_fast::{CrcAlgorithm, Digest};
use parking_lot::Mutex;
use revkeep_schemas::{
    Revision, Row, RowKey, RowSource as _,
    boltdb::KEY_BUCKET,
    hashkv::{HashFilter, HashKv, TombstoneRule},
};

use super::{
    Mvcc,
    index::{Change, Span},
    read::Moment,
    revisions::NEVER_COMPACTED,
};
use crate::{
    backend::{Bucket, FIRST_ROW, View},
    error::Result,
};

/// How many hashes of compactions are remembered (etcd, `server/storage/mvcc/hash.go`).
const REMEMBERED: usize = 10;

/// HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKvAnswer {
    /// CRC-32C over the rows that count.
    pub hash: u32,
    /// The compact revision that the hash assumes, -1 for none.
    pub compact_revision: i64,
    /// The revision up to which rows count.
    pub hash_revision: i64,
    /// The current revision.
    pub current: i64,
}

/// Hash of the whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashAnswer {
    /// CRC-32C over all buckets.
    pub hash: u32,
    /// The current revision.
    pub current: i64,
}

/// The hashes that compactions have computed on their way.
#[derive(Debug, Default)]
pub(super) struct CompactionHashes(Mutex<Vec<HashKvAnswer>>);

impl CompactionHashes {
    pub(super) fn remember(&self, hash: HashKvAnswer) {
        let mut hashes = self.0.lock();
        hashes.push(hash);
        hashes.sort_by_key(|hash| hash.hash_revision);
        let oldest = hashes.len().saturating_sub(REMEMBERED);
        hashes.drain(..oldest);
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    fn at(&self, revision: i64) -> Option<HashKvAnswer> {
        let hashes = self.0.lock();
        hashes
            .iter()
            .find(|hash| hash.hash_revision == revision)
            .copied()
    }
}

/// The fold over rows in ascending order, of which some are kept by their keys.
pub(super) struct RowHash<'a> {
    filter: HashFilter,
    /// Ascending: the rows of keys that live at the revision.
    kept: &'a [Change],
    any_kept: bool,
    fold: HashKv,
}

impl<'a> RowHash<'a> {
    /// Rows count up to `revision`; those up to `compacted` only if they are in `kept`, unless that is empty.
    pub(super) fn new(revision: i64, compacted: i64, kept: &'a [Change], any_kept: bool) -> Self {
        Self {
            filter: HashFilter {
                revision: Revision(revision),
                compacted: (compacted > NEVER_COMPACTED).then_some(Revision(compacted)),
                rule: TombstoneRule::Skipped,
            },
            kept,
            any_kept,
            fold: HashKv::new(),
        }
    }

    /// Takes the next row. Returns whether it is one of the kept.
    pub(super) fn update(&mut self, row: &Row<'_>) -> bool {
        while let Some((first, rest)) = self.kept.split_first()
            && first.row_key() < row.key
        {
            self.kept = rest;
        }
        let kept = self
            .kept
            .first()
            .is_some_and(|first| first.row_key() == row.key);
        // Any other row stands for "not this one".
        let newest = (!kept).then_some(RowKey {
            main: Revision::MAX,
            ..row.key
        });
        if self.filter.counts(row.key, newest, self.any_kept) {
            self.fold.update(row);
        }
        kept
    }

    pub(super) fn finish(self) -> u32 {
        self.fold.finish()
    }
}

impl Mvcc {
    /// HashKV at a revision, 0 for the current one (etcd, `server/storage/mvcc/hash.go` and `kvstore.go`,
    /// `hashByRev`). At the revision of one of the last compactions it is what that compaction found, before it became
    /// the compact revision.
    ///
    /// # Errors
    /// etcd's, for a revision that is compacted or not there yet.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKvAnswer> {
        if let Some(hash) = self.hashes.at(revision) {
            return Ok(HashKvAnswer {
                current: self.revision(),
                ..hash
            });
        }
        if revision < 0 {
            let (current, compact_revision) = self.revisions.both();
            return Ok(HashKvAnswer {
                hash: HashKv::new().finish(),
                compact_revision,
                hash_revision: revision,
                current,
            });
        }
        self.reading(revision, |moment| {
            let at = if revision == 0 {
                moment.current
            } else {
                revision
            };
            let view = self.backend.latest();
            hash_rows(&moment, &view, at)
        })
    }

    /// Hash over all buckets but for the position in the log (etcd, `server/storage/backend/backend.go`, `Hash`). It
    /// differs between members.
    pub fn hash(&self) -> Result<HashAnswer> {
        let _installing = self.installing.read();
        let view = self.backend.view();
        let current = self.revision();
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        for bucket in Bucket::ALL {
            if bucket == Bucket::Lease {
                // Buckets go by their names, and `key` comes before `lease`.
                crc.update(KEY_BUCKET);
                let mut rows = view.all_rows()?;
                while let Some(row) = rows.next_row()? {
                    crc.update(&row.key.encode());
                    crc.update(row.value);
                }
            }
            crc.update(bucket.name().as_bytes());
            for (key, value) in view.entries(bucket)? {
                let position = matches!(&*key, b"consistent_index" | b"term");
                if bucket == Bucket::Meta && position {
                    continue;
                }
                crc.update(&key);
                crc.update(&value);
            }
        }
        Ok(HashAnswer {
            // CRC-32C has 32 bits; the crate gives every width as u64.
            hash: u32::try_from(crc.finalize()).unwrap_or(u32::MAX),
            current,
        })
    }
}

fn hash_rows(moment: &Moment<'_>, view: &View, at: i64) -> Result<HashKvAnswer> {
    // Only rows up to the compact revision are asked whether they are kept.
    let mut kept = Vec::new();
    let mut any_kept = false;
    moment.visit(Span::From(&[]), |_, history| {
        if let Some(change) = history.counted_at(at) {
            any_kept = true;
            if change.main <= moment.compact {
                kept.push(change);
            }
        }
    });
    kept.sort_unstable();
    let mut hash = RowHash::new(at, moment.compact, &kept, any_kept);
    let last = RowKey {
        main: Revision(at),
        sub: i64::MAX,
        tombstone: true,
    };
    let mut rows = view.rows(FIRST_ROW, last)?;
    while let Some(row) = rows.next_row()? {
        hash.update(&row);
    }
    Ok(HashKvAnswer {
        hash: hash.finish(),
        compact_revision: moment.compact,
        hash_revision: at,
        current: moment.current,
    })
}
