//! Where a member keeps its state: etcd's buckets in one redb file, behind an unflushed tail in memory.
//!
//! Comes in: rows in revision order and small changes of the other buckets, from one writer. Goes out: [`View`]s,
//! consistent at one applied position, which never wait for the writer or make it wait. Promises: what
//! [`Backend::flush`] returned survives a crash, all of it or, for what came later, nothing: rows, buckets and the
//! position in the log are one commit. Never: a flush for every change; the log replays what a crash takes.
//!
//! Rows only ever append in revision order, so the tail is a list; flushing every 100 ms or 10,000 rows is the rhythm of
//! etcd's own backend (etcd, `server/storage/backend/backend.go`).

mod bucket;
mod database;
mod disk;
mod engine;
mod memory;
mod overlay;
mod position;
mod replace;
mod tail;
mod view;
mod watched;

#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub use disk::{Disk, FileDisk};
pub(crate) use engine::encoded_revision;
pub use engine::{Backend, BackendOptions, FLUSH_INTERVAL, FLUSH_ROWS, STATE_FILE};
pub use memory::{Faults, MemoryDisk};
pub use position::Position;
pub use replace::Replacement;
pub(crate) use view::FIRST_ROW;
pub use view::{RowCursor, View};
pub(crate) use watched::{Watched, Watcher};
