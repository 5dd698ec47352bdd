//! Every format that crosses a process or a disk.
//!
//! Comes in: bytes that etcd, its clients or Revkeep wrote. Goes out: typed rows, files and messages, or an error
//! that names the offset and what was expected there. Promises: what was read is what was written, byte for byte,
//! and memory does not grow with the file. Never: a network call, a clock, a panic on input.
//! Read next: [`row`] for the unit of everything, then [`boltdb`] for etcd's file and [`segment`] for ours.

pub mod boltdb;
pub mod compaction;
pub mod digest;
pub mod envelope;
pub mod error;
pub mod exposition;
mod generated;
pub mod hashkv;
pub mod key_filter;
pub mod kubernetes;
pub mod kv;
pub mod manifest;
pub mod member;
pub mod names;
pub mod revision;
pub mod row;
pub mod segment;
pub mod snapshot;

pub use error::FormatError;
pub use generated::{agent_api, catalog_api, etcd_api, store_api};
pub use revision::Revision;
pub use row::{Row, RowBuf, RowKey, RowSource};
