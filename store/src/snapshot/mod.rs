//! The state as one file in etcd's own format, out and in.
//!
//! The same file is what `Maintenance.Snapshot` streams, what `etcdutl snapshot` reads, what a member that lags behind is
//! sent, and what a restore leaves for the first start.

mod export;
mod import;

pub use export::{export, export_into};
pub use import::{import, position_of};
