//! What the log is applied to.

use bytes::Bytes;
use revkeep_schemas::store_api::Proposal;
use tempfile::TempPath;

use super::PeerMember;
use crate::{Result, StoreError, backend::Position};

/// What the log is applied to. Entries come one at a time, in order, on every member alike; everything but
/// [`apply`](Self::apply) and [`install`](Self::install) may run beside them.
///
/// An error of any of these stops the member: its state is no longer what the others have.
pub trait StateMachine: Send + Sync + 'static {
    /// What a command comes to, for the client that sent it.
    type Outcome: Send + 'static;

    /// The last entry applied.
    fn position(&self) -> Position;

    /// The last entry whose effects survive a crash. Entries up to it may leave the log.
    fn durable(&self) -> Position;

    /// The bytes of the last [`EntryBody::Membership`] or snapshot, as durable or newer than [`position`](Self::position).
    fn raft_state(&self) -> Option<Bytes>;

    /// Applies the entry at `at`: one outcome a command, none for other bodies. Does nothing and returns nothing if `at`
    /// is at or below [`position`](Self::position).
    ///
    /// The commands' bytes share the memory of the whole entry: what is kept for long must be copied.
    fn apply(&self, at: Position, body: EntryBody<'_>) -> Result<Vec<Self::Outcome>>;

    /// Makes durable what is applied, and returns how far that is.
    fn flush(&self) -> Result<Position>;

    /// Writes the whole state, consistent at one position, to a temporary file in etcd's database format.
    fn snapshot(&self) -> Result<SnapshotFile>;

    /// Replaces the whole state by a file, durably and at once: a kill in the middle leaves the old or the new.
    fn install(&self, file: &SnapshotFile) -> Result<()>;

    /// Whether the member has ever told its name, which it does when it first serves clients. etcd counts only those
    /// when it judges whether a change of the members is safe.
    fn is_started(&self, _member: u64) -> bool {
        true
    }

    /// Whether the member was removed from the cluster; its id never comes back.
    fn is_removed(&self, _member: u64) -> bool {
        false
    }
}

/// What is in an entry.
#[derive(Clone, Copy, Debug)]
pub enum EntryBody<'a> {
    /// Commands that were made durable together.
    Commands(&'a [Proposal]),
    /// The members from now on.
    Membership {
        /// To be kept, with the position, and returned by [`StateMachine::raft_state`].
        raft_bytes: &'a Bytes,
        /// All members, ascending by id.
        members: &'a [PeerMember],
    },
    /// Nothing: a leader's term begins.
    Blank,
}

/// The whole state of a member in a file.
#[derive(Debug)]
pub struct SnapshotFile {
    /// The last entry it holds.
    pub position: Position,
    /// What [`StateMachine::raft_state`] returned at that position.
    pub raft_bytes: Option<Bytes>,
    /// An etcd database file, removed when this is dropped.
    pub path: TempPath,
}

impl SnapshotFile {
    /// How long it is.
    pub fn size_bytes(&self) -> Result<u64> {
        let meta = std::fs::metadata(&self.path)
            .map_err(|error| StoreError::disk(format!("look at {}", self.path.display()), error))?;
        Ok(meta.len())
    }
}
