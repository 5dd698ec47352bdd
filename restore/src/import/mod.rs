//! Makes a base of an existing etcd snapshot.
//!
//! Comes in: a file of `etcdctl snapshot save`, k3s, OpenShift, Talos or whatever calls etcd's snapshot RPC, or a member's db
//! file that nobody writes. Goes out: a base in the vault. Promises: the file is whole and holds what a member wrote, or is
//! refused; a timeline that has agents gets it only if its own content at that revision is the file's; a second run changes nothing.
//! Never: a guess about where a file belongs. Read next: [`SnapshotFile`], then [`home`].

mod file;
mod home;
mod prove;
mod store;

pub use file::{SnapshotFile, Told};
pub use home::{Home, Where, home};
pub use prove::has_the_same_rows;
pub use store::store;
