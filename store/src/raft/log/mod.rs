//! The log: every entry since the state machine's last flush and a few thousand before, and this member's vote.
//!
//! Comes in: entries, votes and cuts, from the consensus library. Goes out: the same, to replication, to the state
//! machine and after a restart. Promises: what was reported as saved survives any kill, but for a leader's own entries, of
//! which [`Synced`] says how far they do; changes survive in the order in which they came; after one failed write or sync every later one fails, and the member stops.
//!
//! One file, `log`, see [`file`]. One synced commit serves every change that waits.

mod cache;
mod file;
mod reader;
mod store;
mod synced;
mod writer;

#[cfg(test)]
mod tests;

use file::LOG_FILE;
pub(super) use file::{Change, LogFile};
pub(super) use reader::Reader;
pub(super) use store::{LogStore, Marks};
pub(super) use synced::Synced;
