//! The data directory.
//!
//! `member/state.redb` is the state, `member/log` the log, `member/identity` who the member is, `member/scratch`
//! holds snapshots on their way. `seed/db` is what a restore left for the first start.

mod folder;
mod identity;
mod seed;

pub(super) use folder::DataFolder;
pub(super) use identity::Identity;
pub(super) use seed::Seed;
