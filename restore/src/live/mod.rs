//! Puts keys of a live cluster back to what they were, without losing what others write meanwhile.
//!
//! Comes in: keys as they were at a point, and a live cluster. Goes out: a plan, and once that is wanted its transactions.
//! Promises: a key is only touched while it is what the plan saw, by its mod revision; what somebody else wrote since then stays,
//! and is told. Never: a delete that was not asked for, a request beyond etcd's limits.
//! Read next: [`LivePlan`] decides, [`apply`] acts, [`PlanFile`] remembers.

mod apply;
mod connect;
mod leases;
mod plan;
mod plan_file;
mod read;

pub use apply::{Applied, Conflict, Unfinished, apply};
pub use connect::{Connection, Live};
pub use leases::{EndedLease, LeasePolicy, ended_leases, grant_leases};
pub use plan::{Action, LivePlan, Options, Step, Wish};
pub use plan_file::{Header, PlanFile};
pub use read::{LiveKey, LiveKeys, identity, read, read_at_most};
