//! The rows of every key, in memory.
//!
//! etcd keeps the same in `server/storage/mvcc/{index,key_index}.go`. A key with one row costs about 100 bytes and the
//! key's own.

mod history;
mod span;
mod tree;

#[cfg(test)]
mod tests;

pub(super) use history::{Change, History};
pub(super) use span::Span;
pub(super) use tree::{KEYS_AT_ONCE, KeyTree};
