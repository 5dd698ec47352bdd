//! The files of an etcd member beside its database: write-ahead log and Raft snapshot, and the ids they carry.
//!
//! [`write_raft_files`] and [`backend_rows`] do what `etcdutl snapshot restore` does, in the bytes of etcdutl 3.5,
//! which every etcd from 3.4 to 3.7 boots from. [`wal::WalReader`] and [`snap::Snap`] read what a member left. Layouts
//! are in `formats/member.md`.

pub mod cluster;
pub mod datadir;
pub mod ids;
mod json;
pub mod raftpb;
pub mod snap;
pub mod v2store;
pub mod wal;

#[cfg(test)]
mod tests;

pub use cluster::{MemberIdentity, NewMember, ResolvedCluster, RestoredCluster};
pub use datadir::{BackendRows, RaftFiles, backend_rows, survives_restore, write_raft_files};
pub use ids::{DEFAULT_TOKEN, cluster_id, member_id};
