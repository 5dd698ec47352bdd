//! Turning agreed commands into state, the same on every member.
//!
//! Comes in: the entries of the log, in order. Goes out: an outcome for each command, and events for the watchers.
//! Promises: what is refused is refused by every member alike, because rights, quota and alarms are judged here, not only
//! where the client asked. Never: a clock, a random number, or anything else that two members could see differently.

mod applier;
mod dispatch;
mod outcome;
mod propose;
pub mod quota;

#[cfg(test)]
mod tests;

pub use applier::{Applier, ApplierOptions, Shared};
pub use outcome::{Outcome, Response};
pub use propose::Propose;
