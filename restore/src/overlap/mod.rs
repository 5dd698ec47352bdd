//! Where segments overlap they must agree: within a timeline a revision has one content.
//!
//! Every member may have its agent, and all of them upload the same history in pieces of their own. A restore reads each
//! revision once; this module compares that one reading with all others that the vault has of the same revisions. A
//! difference means that a member of the source has diverged, or that somebody tampered: an alarm
//! ([`Kind::Verification`](crate::Kind::Verification), with both objects and the first differing revision), never a tie
//! to break.
//!
//! What it costs, in this order:
//! 1. **Indexes** ([`by_index`]), which are read anyhow. Digests of rows add up, so between two revisions at which both
//!    the plan and another run of segments begin anew, the sums of their digests are compared. That settles segments with
//!    the same range, merged ones against their parts, and whatever lies between two common boundaries: no row is read.
//! 2. **Rows** (`compare_rows`), for what no common boundaries enclose and for what the indexes contradict: both
//!    readings are streamed side by side and compared revision by revision, in the memory of a few frames. By default
//!    that is done up to [`SMALL_BYTES`] or an eighth of what the plan's segments hold, whichever is more; past it the
//!    rest is counted and named in a note, and [`Overlaps::All`] (`--verify-overlaps`) compares it too.
//!
//! Compared is what lies above the base and up to the target. The base's own history is compared with the source by
//! HashKV, not with segments of the same revisions.

mod by_index;
mod compare_rows;
#[cfg(test)]
mod tests;
mod verify;

pub use by_index::{Contradiction, Lane, Verdict, by_index};
pub use compare_rows::{first_difference, readings};
pub use verify::{OverlapReport, Overlaps, SMALL_BYTES, verify};
