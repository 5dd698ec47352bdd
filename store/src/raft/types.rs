//! The consensus library's types, filled in.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use openraft::{
    CommittedLeaderId, RaftLogId, RaftTypeConfig, TokioRuntime,
    entry::{FromAppData, RaftEntry, RaftPayload},
    impls::OneshotResponder,
};
use parking_lot::Mutex;
use prost::{DecodeError, Message as _};
use revkeep_schemas::store_api::{Batch, Proposal};

use super::{PeerNode, SnapshotFile};
use crate::backend::Position;

pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Membership = openraft::Membership<u64, PeerNode>;
pub(super) type StoredMembership = openraft::StoredMembership<u64, PeerNode>;
pub(super) type StorageError = openraft::StorageError<u64>;
pub(super) type Raft = openraft::Raft<Types>;

/// What the consensus library is told to work with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Types;

impl RaftTypeConfig for Types {
    type D = Commands;
    type R = ();
    type NodeId = u64;
    type Node = PeerNode;
    type Entry = Entry;
    type SnapshotData = SnapshotData;
    type AsyncRuntime = TokioRuntime;
    type Responder = OneshotResponder<Self>;
}

/// A snapshot on its way.
#[derive(Debug)]
pub(super) enum SnapshotData {
    /// To be made when it is sent, from what the state machine is then.
    OnDemand,
    /// Received whole.
    Received(SnapshotFile),
}

/// An entry of the log. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: LogId,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Blank,
    Commands(Commands),
    Membership(Membership),
}

/// Commands that travel, rest and are applied together.
#[derive(Clone)]
pub(super) struct Commands {
    /// An encoded `Batch`: encoded once, by who proposed it, and shared by disk and wire.
    pub(super) batch: Bytes,
    fate: Arc<Fate>,
}

/// What becomes of commands, the same for all clones.
#[derive(Default)]
struct Fate {
    /// Set once the log was given them.
    taken: AtomicBool,
    /// The commands decoded, where this member made them itself, until they are applied. They keep alive the buffers in
    /// which the requests came, which are many times their size.
    decoded: Mutex<Option<Arc<[Proposal]>>>,
}

impl Commands {
    pub(super) fn new(batch: Bytes, decoded: Option<Arc<[Proposal]>>) -> Self {
        Self {
            batch,
            fate: Arc::new(Fate {
                taken: AtomicBool::default(),
                decoded: Mutex::new(decoded),
            }),
        }
    }

    /// Whether some log may hold it. While not, it can be proposed again without being applied twice.
    pub(super) fn is_taken(&self) -> bool {
        self.fate.taken.load(Ordering::Acquire)
    }

    pub(super) fn take(&self) {
        self.fate.taken.store(true, Ordering::Release);
    }

    /// The commands decoded, to be applied: as this member made them, else from the batch.
    pub(super) fn decode(&self) -> Result<Arc<[Proposal]>, DecodeError> {
        if let Some(decoded) = self.fate.decoded.lock().take() {
            return Ok(decoded);
        }
        Ok(Batch::decode(self.batch.clone())?.proposals.into())
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands")
            .field("bytes", &self.batch.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.id, self.body)
    }
}

impl RaftLogId<u64> for Entry {
    fn get_log_id(&self) -> &LogId {
        &self.id
    }

    fn set_log_id(&mut self, id: &LogId) {
        self.id = *id;
    }
}

impl RaftPayload<u64, PeerNode> for Entry {
    fn is_blank(&self) -> bool {
        matches!(self.body, Body::Blank)
    }

    fn get_membership(&self) -> Option<&Membership> {
        match &self.body {
            Body::Membership(membership) => Some(membership),
            _ => None,
        }
    }
}

impl RaftEntry<u64, PeerNode> for Entry {
    fn new_blank(id: LogId) -> Self {
        Self {
            id,
            body: Body::Blank,
        }
    }

    fn new_membership(id: LogId, membership: Membership) -> Self {
        Self {
            id,
            body: Body::Membership(membership),
        }
    }
}

impl FromAppData<Commands> for Entry {
    fn from_app_data(commands: Commands) -> Self {
        Self {
            id: LogId::default(),
            body: Body::Commands(commands),
        }
    }
}

/// The library counts entries from 0, everything else here from 1, so that position 0 can mean "none yet".
pub(super) fn position(id: &LogId) -> Position {
    Position::new(id.leader_id.term, id.index + 1)
}

/// The place of an optional log id; the origin for none.
pub(super) fn position_or_origin(id: Option<&LogId>) -> Position {
    id.map(position).unwrap_or_default()
}

/// The library's name for a position; none for the origin.
pub(super) fn log_id(at: Position) -> Option<LogId> {
    let index = at.index.checked_sub(1)?;
    Some(LogId::new(CommittedLeaderId::new(at.term, 0), index))
}
