//! Leases: keys that vanish when nobody keeps them.
//!
//! Comes in: grants, renewals and ends. Goes out: what is left of a lease, and, on the leader, a proposal to end it when
//! its time is over. Promises: a lease never ends before its time, whoever leads; all its keys go in one revision. Never:
//! a clock in what the log is applied to: all members know the same of [`LeaseState`], the leader alone counts the time,
//! in [`Lessor`].

mod deadlines;
mod duties;
mod lessor;
mod state;
mod table;

#[cfg(test)]
mod tests;

pub use lessor::{Lessor, LessorOptions};
pub use state::{Lease, LeaseState, MAX_TTL_S};
pub use table::LeaseTable;
