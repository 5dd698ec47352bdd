//! What the agent does for its source beside reading it: defragmentation, off unless it is configured, and an eye on
//! quota and alarms.
//!
//! Comes in: how every member is. Goes out: one request to defragment at a time. Promises: one member after another,
//! followers first, the leader last; none while any member is not well; the first failure is the end. Never: a member that
//! is not fragmented, a leader that is moved, a key that is written.
//! Read next: [`plan()`] for what is decided, [`Keeper`] for how it is done.

mod keeper;
mod look;
mod permit;
mod plan;
mod quota;

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use keeper::{Defragmented, Keeper};
pub use look::{Found, MemberLook, look};
pub use permit::Permit;
pub use plan::{Plan, Step, plan};
pub use quota::{QuotaLevel, level};

use crate::Schedule;

/// Which members are defragmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The first of the endpoints: the member that the agent is beside.
    #[default]
    Member,
    /// All.
    Cluster,
}

/// From where on a member is fragmented: both must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The least share of the file that is free, in percent.
    pub free_percent: u8,
    /// The least that is free, in bytes.
    pub free_bytes: u64,
}

/// What is done for the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// When members are defragmented; never without it.
    pub schedule: Option<Schedule>,
    /// Which ones.
    pub scope: Scope,
    /// How fragmented they must be.
    pub thresholds: Thresholds,
    /// How long one may take.
    pub timeout: Duration,
    /// The members' quota, where they do not say so themselves, in bytes.
    pub quota_bytes: Option<u64>,
}
