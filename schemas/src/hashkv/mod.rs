//! HashKV: the hash by which etcd's members compare their histories.
//!
//! It is CRC-32C over the bytes `key`, then key and value of every row that counts, in order of the row keys. Which
//! rows count depends on the revision asked, R, the compact revision of the server, C, and its version; see
//! [`HashView`] and `formats/hashkv.md` (etcd, `server/storage/mvcc/hash.go` and `kvstore.go`). Two values are
//! comparable only for the same R, the same C and the same [`TombstoneRule`].

mod fold;
mod rule;
mod view;

#[cfg(test)]
mod tests;

pub use fold::HashKv;
pub use rule::TombstoneRule;
pub use view::{HashFilter, HashView};
