//! Retention: what is kept, why, and how the rest goes.
//!
//! [`plan()`] decides, from a [`History`] and [`Rules`]; it does no input or output. [`Cluster::apply_retention`] carries
//! it out in rounds: a mark, a time of grace, a verdict, a sweep. `formats/retention.md` has the objects.
//!
//! # Why nothing that is needed is deleted
//!
//! Bases share chunks, and agents write bases while others are deleted. What must never be: a manifest in the vault
//! that lists a chunk which is gone. No clock and no lock is used to rule that out, only these facts of the store: a
//! put is seen by every request that is made after it, and of several puts on the condition that nothing stands there
//! one succeeds. (Where a probe finds that a store does not honour the condition, nothing is deleted.)
//!
//! 1. A base that is being written is announced, then marks are looked for. A mark is written, then, for the verdict,
//!    announcements are looked for. So a base that may list a chunk of a mark is in the verdict of its round.
//! 2. Before the sweep of a round is decided, each base of its verdict is there, or a void is there, in whose place no
//!    manifest can be put any more. So the manifests that the sweep is decided from are all that may ever list a chunk of
//!    the mark, and it leaves out what they need.
//! 3. What stands in the sweep is decided once, by whoever is first, and everybody deletes just that, however late.
//! 4. A chunk that is stored after a mark carries the number of that mark in its name. So a name that went never comes
//!    back, and who deletes late deletes nothing new.
//! 5. Manifests go before the chunks that they list, so a round that is cut off leaves chunks that nobody needs, which
//!    the next round finds.
//! 6. A base is counted on only while every chunk that it lists is there: chunks are listed after it, and while one is
//!    gone, nothing that could stand in for the base is let go.
//! 7. A pin is written, then verdicts are looked for. A verdict is written, then pins are looked for.
//!
//! The window and the points are promises of the plan, which is made anew for the sweep, and only what it lets go then
//! goes. Times are the store's own, of objects that are there: a writer's clock is read nowhere. They decide how long
//! grace and patience last, and what falls into which period; a store's clock that jumps makes a round early or late, and
//! the rules above hold all the same. `model.rs` visits every order of these steps, with every step cut off.
//!
//! Until when the store itself holds what is kept is set before, by [`crate::lock`].
//!
//! [`Cluster::apply_retention`]: crate::Cluster::apply_retention

mod history;
mod hold;
#[cfg(test)]
mod model;
mod period;
mod plan;
mod policy;
mod rounds;
mod rules;
mod survey;
mod sweep;
mod whole;

pub use history::{History, Pinned, StoredBase, StoredSegment, TimelineHistory};
pub use period::Period;
pub use plan::{Decision, Plan, Reason, TimelinePlan, plan};
pub use policy::Policy;
pub(crate) use rounds::{Part, Rounds, parse as parse_round};
pub use rules::{Rules, SLOT, YOUNG};
pub use survey::Survey;
pub use sweep::{PATIENCE, Progress};
pub(crate) use whole::StoredChunks;
