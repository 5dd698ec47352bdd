//! The names of etcd's buckets.

use redb::TableDefinition;

/// A redb table: bytes to bytes, ordered by the bytes of the key.
pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A bucket of etcd's db file (etcd, `server/storage/schema/bucket.go`). The rows' own bucket, `key`, has functions of
/// its own: see [`View::rows`](super::View::rows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Alarms that are raised.
    Alarm,
    /// Whether authentication is on, and its revision.
    Auth,
    /// Roles.
    AuthRoles,
    /// Users.
    AuthUsers,
    /// The version that the cluster agreed on.
    Cluster,
    /// Leases.
    Lease,
    /// Members.
    Members,
    /// Ids of removed members.
    MembersRemoved,
    /// The position in the log and the state of compaction.
    Meta,
}

impl Bucket {
    /// All of them, in the order of their names; `key` belongs between [`Bucket::Cluster`] and [`Bucket::Lease`].
    pub const ALL: [Self; 9] = [
        Self::Alarm,
        Self::Auth,
        Self::AuthRoles,
        Self::AuthUsers,
        Self::Cluster,
        Self::Lease,
        Self::Members,
        Self::MembersRemoved,
        Self::Meta,
    ];

    /// The name in etcd's file, and of the table in ours.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Auth => "auth",
            Self::AuthRoles => "authRoles",
            Self::AuthUsers => "authUsers",
            Self::Cluster => "cluster",
            Self::Lease => "lease",
            Self::Members => "members",
            Self::MembersRemoved => "members_removed",
            Self::Meta => "meta",
        }
    }

    pub(super) const fn table(self) -> Table {
        TableDefinition::new(self.name())
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// The rows.
pub(super) const ROWS: Table = TableDefinition::new("key");
/// What etcd's file has no place for: Raft's own state. Never exported.
pub(super) const OWN: Table = TableDefinition::new("revkeep");
/// The entry of [`OWN`] with Raft's state.
pub(super) const RAFT_STATE: &[u8] = b"raft";
