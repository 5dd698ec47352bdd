//! Multi-version concurrency control: what a revision is.
//!
//! Comes in: requests of etcd's KV service, one writer's in the order of the log, any number of readers'. Goes out:
//! etcd's answers. Promises: revisions (main, sub), create revisions, versions, counts, order and errors are those that
//! etcd 3.5 would have given for the same requests, and so is HashKV. Never: fills more of a header than its revision;
//! checks rights, quota or the shape of a request, which callers do.
//!
//! Every change is a row, `(main, sub) -> KeyValue`, in the [`backend`](crate::backend). An index in memory knows the
//! rows of every key. A transaction's rows carry the next revision and become visible when that revision becomes the
//! current one, so readers never see a part of a transaction.
//!
//! Read next: [`Mvcc`]; etcd, `server/storage/mvcc/{kvstore,kvstore_txn,key_index}.go` and `server/etcdserver/apply.go`.

mod compact;
mod compare;
mod delete;
mod events;
mod hash;
mod index;
mod lease;
mod load;
mod order;
mod put;
mod quicksort;
mod range;
mod read;
mod revisions;
mod store;
mod txn;
mod write;

#[cfg(test)]
mod tests;

pub use compact::{CompactionMode, CompactionTicket};
pub use events::{EventPage, RevisionEvents};
pub use hash::{HashAnswer, HashKvAnswer};
pub use store::{Mvcc, MvccOptions};
pub use txn::txn_is_read_only;
