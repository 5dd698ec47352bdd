//! etcd's db file: a bbolt database, format version 2, read and written without bbolt.
//!
//! Comes in: a member's `db`, or the file that the snapshot RPC and `etcdutl` make of it (the same bytes and a SHA-256
//! trailer). Goes out: the same file, written bottom-up in one pass. The byte table is `schemas/formats/boltdb.md`;
//! its sources are bbolt's `internal/common/{page,meta,bucket,inode}.go`, `node.go` and `tx_check.go`.
//!
//! The reader uses positioned reads into reused buffers: memory is one read-ahead window (256 KiB, or the largest entry)
//! and one page per level of the tree. Whatever the bytes are, it ends with entries or with an error that names the
//! file and the offset. bbolt's pages carry no checksums: only a snapshot's trailer proves values, so
//! [`check_trailer`] comes before trust in a file that has one.

mod appender;
mod bucket;
mod cursor;
mod file;
mod frame;
mod meta;
mod node;
mod page;
mod rows;
mod sink;
mod trailer;
mod tree;
mod unsynced;
mod window;
mod writeback;
mod writer;

#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub use cursor::{Cursor, KeyAndValue};
pub use file::DbFile;
pub use rows::Rows;
pub use trailer::{Trailer, append_trailer, check_trailer};
pub use unsynced::UnsyncedDb;
pub use writer::{DbOptions, DbSummary, DbWriter};

/// The bucket that holds the rows (etcd, `server/storage/schema/bucket.go`).
pub const KEY_BUCKET: &[u8] = b"key";
/// The bucket that holds the consistent index, the term and the compaction state.
pub const META_BUCKET: &[u8] = b"meta";
/// The entry of `meta` with the revision up to which compaction was asked for: a 17-byte row key, `C_0`.
pub const SCHEDULED_COMPACT_REV: &[u8] = b"scheduledCompactRev";
/// The entry of `meta` with the revision up to which compaction has finished.
pub const FINISHED_COMPACT_REV: &[u8] = b"finishedCompactRev";
