//! Whether the source is what the timeline was captured from, by evidence.
//!
//! A cluster's id proves nothing: `etcdutl snapshot restore` with the same name, token and URLs gives the same id, and so
//! does a cluster that was wiped and made again. What is compared:
//!
//! | evidence | speaks against it |
//! |---|---|
//! | the cluster's id | another one |
//! | Raft term and index, which never go back in one history | lower ones: a restore starts them again |
//! | entries of etcd's log beyond those that made a revision, which never become fewer | fewer: a restore starts the log again, and keeps the revision |
//! | the revision, which never goes back | one below what was captured |
//! | the rows of the last captured revision, read back | other rows |
//! | the end of what is stored or spooled beyond a hole, read back | other rows |
//!
//! The last one is asked in two ways. Before anything else, the newest captured keys are read at the last captured revision.
//! And every watch begins *at* the last captured revision, not after it: its first transaction must be the one that was
//! captured, byte for byte. So what follows on that stream is the continuation, whatever stands behind the endpoint, and a
//! source that is swapped later ends the stream, since a stream lives and dies with one connection to one process. A
//! snapshot is compared in the same way, in the file, with the digests of all that was captured ([`Trail`]), before a row of
//! it is used: that also finds a watch that lost events, and a member whose content is not that of the others.
//!
//! An agent stores several segments at once, and may end when the vault has one and not yet the one before it. What is missing
//! there may be in the spool, so both are judged together (`extent.rs`). Where it is in neither, capture goes on before what is
//! missing, but later revisions are known: the source must have those too, or it was set back.
//!
//! Where the source is compacted beyond what was captured, nothing can be read back. Then a snapshot decides, which has to be
//! taken anyway: rows at revisions that were captured, as far as compaction left any, must be those in the vault
//! ([`Sample`]). Where it left none of the last that was captured, the ids and the Raft log decide alone (`raft.rs`).
//!
//! Content that differs while the Raft log goes on has two explanations. Either the cluster is another one, or this one member
//! has diverged from its cluster. The other members are asked in the same way: if any of them continues the timeline, this
//! member has diverged, and nothing of it is stored; if those that answer all differ, the cluster is another one. A cluster
//! of one member cannot diverge from itself. Where nobody else answers, nothing is decided and nothing is stored until
//! somebody does.
//!
//! A source that continues no timeline gets a new one, with the parent and the highest revision that both share, found by
//! comparing a snapshot with the segments of the vault (`fork.rs`). It is created once, so that agents which race agree; the
//! record holds the content of one revision of the source, so that an agent that comes later can tell whether it is its own.

mod agree;
mod connect;
mod examine;
mod extent;
mod find;
mod fork;
mod known;
mod raft;
mod sample;
mod snapshot;
mod trail;

pub(crate) use agree::of_timeline_in;
pub(crate) use connect::{connect_any, connect_caught_up, connect_first, same_cluster};
pub(crate) use examine::{Verdict, settle, settle_alone};
pub(crate) use extent::Extent;
pub(crate) use find::{Found, find};
pub use known::{Beyond, Known, Lineage};
pub use raft::RaftMark;
pub use sample::Sample;
pub(crate) use snapshot::Judged;
pub(crate) use snapshot::judge;
pub use trail::Trail;
pub(crate) use trail::digest;
