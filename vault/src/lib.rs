//! Where backups live: one prefix of an object store, any number of clusters.
//!
//! Comes in: sealed segments and the rows of snapshots. Goes out: what can be restored, and the rows of it, in order.
//! Promises: what is acknowledged is in the store; what is read is what was written, to the last bit; nothing that was
//! written is ever overwritten but the head, a hint, and a damaged chunk, by its own content. Never: a deletion, but by
//! [`retention`], of what a probe put and of a pin that a person takes back; a lock between writers; memory that grows with the data.
//! Read next: [`Vault`], [`Cluster`], [`Timeline`]; then [`Coverage`] for what can be brought back.

mod backend;
mod base;
mod buffers;
mod cache;
pub mod catalog;
mod cluster;
mod coverage;
mod credentials;
pub mod door;
mod error;
pub mod fail_point;
mod fetched;
mod holes;
mod inventory;
mod layout;
pub mod lock;
mod objects;
mod part;
mod pin;
mod priority;
mod probe;
mod read;
mod receipt;
pub mod retention;
pub mod schedule;
pub mod service;
pub mod size;
mod spans;
mod state_folder;
mod timeline;
mod unproven;
mod vault;
pub mod verify;
mod writing;

pub use cache::IndexCache;
pub use cluster::{Cluster, HeadVersion};
pub use coverage::{Coverage, Missing};
pub use error::{ErrorKind, VaultError};
pub use inventory::{
    BaseEntry, Damage, GapEntry, Inventory, Listing, Newest, SegmentEntry, Trusted,
};
pub use layout::{ChunkName, NameKind, ObjectName};
pub use objects::Stored;
pub use priority::come_after_others;
pub use probe::{ProbeReport, probe};
pub use read::{Piece, PlainRows, ReadOptions};
pub use spans::Spans;
pub use state_folder::state_folder;
pub use timeline::Timeline;
pub use vault::Vault;

pub use revkeep_schemas::manifest::{
    BaseFacts, BaseManifest, Checkpoint, ChunkRef, GapRecord, Head, PinRecord, ProofKind, Receipt,
    SmallBucket, SourceIdentity, TimelineRecord, Witness,
};
pub use revkeep_schemas::names::{ClusterName, PinName, TimelineId, Uid, VaultId};
pub use revkeep_schemas::segment::{
    CompactionMark, LeaseFact, SealedSegment, SegmentIndex, SegmentReader, SegmentWriter, TimeMark,
};
