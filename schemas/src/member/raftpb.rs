//! The protobuf messages of etcd's Raft library and its files, as far as a log and a snapshot hold them (etcd,
//! `raft/raftpb/raft.proto`, `server/storage/wal/walpb/record.proto`, `server/etcdserver/api/snap/snappb/snap.proto`).
//!
//! They are proto2 and their writer emits a zero where a field is required, so every field is optional here: `Some(0)`
//! is written, `None` is not.

/// Which members vote.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfState {
    /// Ids of the voting members.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// Ids of the learners.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// Ids of the voters of the outgoing half of a joint configuration.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Ids of members that become learners when the joint configuration ends.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether a joint configuration ends by itself.
    #[prost(bool, optional, tag = "5")]
    pub auto_leave: Option<bool>,
}

impl ConfState {
    /// A configuration of these voters and nothing else.
    #[must_use]
    pub fn of_voters(voters: Vec<u64>) -> Self {
        Self {
            voters,
            auto_leave: Some(false),
            ..Self::default()
        }
    }
}

/// What a member must not forget of its elections.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    /// The newest term it has seen.
    #[prost(uint64, optional, tag = "1")]
    pub term: Option<u64>,
    /// Whom it voted for in that term.
    #[prost(uint64, optional, tag = "2")]
    pub vote: Option<u64>,
    /// The highest index it knows to be committed.
    #[prost(uint64, optional, tag = "3")]
    pub commit: Option<u64>,
}

/// An entry of the Raft log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// What `data` is: [`Entry::NORMAL`], [`Entry::CONF_CHANGE`] or [`Entry::CONF_CHANGE_V2`].
    #[prost(int32, optional, tag = "1")]
    pub kind: Option<i32>,
    /// The term in which it was proposed.
    #[prost(uint64, optional, tag = "2")]
    pub term: Option<u64>,
    /// Its place in the log.
    #[prost(uint64, optional, tag = "3")]
    pub index: Option<u64>,
    /// The proposal.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub data: Option<Vec<u8>>,
}

impl Entry {
    /// A request to the server.
    pub const NORMAL: i32 = 0;
    /// A [`ConfChange`].
    pub const CONF_CHANGE: i32 = 1;
    /// A change of several members at once.
    pub const CONF_CHANGE_V2: i32 = 2;
}

/// A change of the members.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfChange {
    /// A request id; 0 in a restored log.
    #[prost(uint64, optional, tag = "1")]
    pub id: Option<u64>,
    /// The kind of change: [`ConfChange::ADD_NODE`] in a restored log.
    #[prost(int32, optional, tag = "2")]
    pub kind: Option<i32>,
    /// The member's id.
    #[prost(uint64, optional, tag = "3")]
    pub node_id: Option<u64>,
    /// The member as JSON.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub context: Option<Vec<u8>>,
}

impl ConfChange {
    /// A voting member joins.
    pub const ADD_NODE: i32 = 0;
}

/// Where a Raft snapshot stands.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotMetadata {
    /// The members at its index.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// The last index that it contains.
    #[prost(uint64, optional, tag = "2")]
    pub index: Option<u64>,
    /// The term of that index.
    #[prost(uint64, optional, tag = "3")]
    pub term: Option<u64>,
}

/// A Raft snapshot.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Snapshot {
    /// The state machine; in etcd, the v2 store as JSON.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub data: Option<Vec<u8>>,
    /// Where it stands.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

/// The envelope of a `.snap` file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapFile {
    /// CRC-32C of `data`.
    #[prost(uint32, optional, tag = "1")]
    pub crc: Option<u32>,
    /// A marshalled [`Snapshot`].
    #[prost(bytes = "vec", optional, tag = "2")]
    pub data: Option<Vec<u8>>,
}

/// Whose log a WAL is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct WalMetadata {
    /// The member's id.
    #[prost(uint64, optional, tag = "1")]
    pub node_id: Option<u64>,
    /// The cluster's id.
    #[prost(uint64, optional, tag = "2")]
    pub cluster_id: Option<u64>,
}

/// A WAL's word that a snapshot was saved.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WalSnapshot {
    /// The snapshot's index.
    #[prost(uint64, optional, tag = "1")]
    pub index: Option<u64>,
    /// The snapshot's term.
    #[prost(uint64, optional, tag = "2")]
    pub term: Option<u64>,
    /// The members at that index; absent in logs of etcd 3.4, and at index 0.
    #[prost(message, optional, tag = "3")]
    pub conf_state: Option<ConfState>,
}

/// One record of a WAL file, inside its frame.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Record {
    /// What `data` is.
    #[prost(int64, optional, tag = "1")]
    pub kind: Option<i64>,
    /// The running CRC-32C over the data of all records up to this one.
    #[prost(uint32, optional, tag = "2")]
    pub crc: Option<u32>,
    /// The marshalled message.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub data: Option<Vec<u8>>,
}
