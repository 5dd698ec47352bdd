//! What a restore would read, decided without reading it.
//!
//! Comes in: what the vault holds of one timeline, and the target. Goes out: one base, the segments after it, and the
//! floor below which history is gone, or an error that names the nearest recovery points.
//! Promises: the segments of a plan leave no revision out, and no plan with fewer exists for its base.
//! Never: I/O, a clock, a random number. Read next: [`choose`] and `compaction.rs` beside it.

mod choose;
mod compaction;
mod known;
#[cfg(test)]
mod tests;

pub use choose::{choose, coverage, nearest};
pub use compaction::{CompactFact, compact_revision_at};
pub use known::{Known, Stretch, known};

use revkeep_schemas::Revision;

/// A base, as far as planning goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseFact {
    /// The revision of the snapshot.
    pub revision: Revision,
    /// The compact revision that the source had then; zero when it had never compacted.
    pub compact_revision: Revision,
}

impl BaseFact {
    /// The oldest revision that the base's own history reaches.
    #[must_use]
    pub fn oldest(self) -> Revision {
        self.compact_revision.max(Revision::INITIAL)
    }
}

/// A segment, as far as planning goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFact {
    /// Its first revision.
    pub first: Revision,
    /// Its last revision.
    pub last: Revision,
    /// How often it was merged; higher levels are fewer and larger.
    pub level: u8,
}

/// What the vault holds of one timeline. Positions in the two lists identify their elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// All bases.
    pub bases: Vec<BaseFact>,
    /// All segments of all levels; they may overlap.
    pub segments: Vec<SegmentFact>,
    /// Ranges, both ends included, that are known to be lost.
    pub gaps: Vec<(Revision, Revision)>,
}

/// Which point in history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Exactly this revision.
    Revision(Revision),
    /// The newest revision that can be restored.
    Latest,
}

/// How much history the result keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// As much as the source had at the target.
    #[default]
    AsSource,
    /// All that the vault has.
    Everything,
    /// As if it had been compacted at this revision, or at the target where that is lower; not less than the vault lacks.
    CompactedAt(Revision),
}

/// A part of a segment to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The segment's position in [`Holdings::segments`].
    pub segment: usize,
    /// The first revision wanted of it.
    pub from: Revision,
    /// The last revision wanted of it.
    pub to: Revision,
}

/// What to read for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The revision to restore.
    pub target: Revision,
    /// The base's position in [`Holdings::bases`].
    pub base: usize,
    /// The base itself.
    pub base_fact: BaseFact,
    /// The segments after it, in order; empty when the base's own history holds the target.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The revision at and below which the vault has only live rows, because the source had compacted there before the
    /// base was taken. The result cannot hold history below it.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.base_fact.compact_revision
    }
}
