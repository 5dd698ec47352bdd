//! How the members agree on one order of commands: consensus, the log, and the links between members.
//!
//! Comes in: commands, reads that must not be stale, changes of the members. Goes out: every command, once and in the
//! same order on every member, to its [`StateMachine`]; the outcome, to who proposed it, when this member applies it.
//! Promises: what was answered is on the disks of a majority and survives any kill; what was not answered is applied
//! once or never; a member that was cut off or restarted does not disturb the leader. Never: a panic on what a peer or
//! the disk says, an answer after a failed sync, a type of the consensus library outside this module.
//!
//! The consensus itself is openraft's. Around it: a proposer that makes one log entry of all that waits, one round of
//! confirmation for all reads that wait, a log with one synced write an append, elections with a trial vote
//! (openraft has none), and the hand-over of leadership (nor that).
//! Read next: [`RaftHandle`] for what a member can be asked, [`StateMachine`] for what it feeds.

mod applier;
mod campaign;
mod config;
mod contact;
mod core;
mod dial;
mod duties;
mod gathered;
mod handle;
mod housekeeping;
mod join;
mod log;
mod machine;
mod member;
mod membership;
mod peer;
mod proposer;
mod reads;
mod start;
mod status;
mod stop;
mod transfer;
mod types;
mod waiters;
mod watchdog;
mod wire;

pub use config::RaftConfig;
pub use dial::{Connection, Dial, Stream, TcpDial, host_and_port};
pub use duties::{Lead, LeaderDuties};
pub(crate) use gathered::Gathered;
pub use handle::RaftHandle;
pub use join::{ClusterView, ask_members};
pub use machine::{EntryBody, SnapshotFile, StateMachine};
pub use member::{PeerMember, PeerNode};
pub use peer::PeerService;
pub use start::RaftEnvironment;
pub use status::{Leadership, RaftStatus, Role, StopReason};
