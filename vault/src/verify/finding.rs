//! What was found.

use revkeep_schemas::Revision;
use revkeep_schemas::names::TimelineId;
use serde::Serialize;

use super::run::Depth;

/// What is wrong with an object or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It was there or is needed, and is not there.
    Missing,
    /// Its bytes are not those that were written.
    Damaged,
    /// It is whole, and another object than its name says.
    Misplaced,
    /// It is older than what stood there before.
    Stale,
    /// A newer Revkeep wrote it, or the bytes that say so are damaged.
    Unreadable,
    /// It contradicts another object.
    Contradiction,
    /// Revisions that nothing covers, that no gap records, and that no deletion took.
    Unexplained,
}

/// One thing that is wrong. Each object is named once, whatever depends on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The object, below the vault's prefix; for revisions that nothing covers their timeline.
    pub object: String,
    /// What is wrong.
    pub wrong: Wrong,
    /// How that shows.
    pub reason: String,
}

/// Revisions that the objects there would bring back if all were sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Of which timeline.
    pub timeline: TimelineId,
    /// The first.
    pub first: Revision,
    /// The last.
    pub last: Revision,
}

/// What came of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The cluster.
    pub cluster: String,
    /// How much was read.
    pub depth: Depth,
    /// Bases that are there.
    pub bases: u64,
    /// Segments that are there.
    pub segments: u64,
    /// Chunks that are there.
    pub chunks: u64,
    /// Chunks of no base: of bases that were never finished, or that retention has yet to delete.
    pub unused_chunks: u64,
    /// All objects that are there.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were read now.
    pub read_objects: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Objects that are due and were left for the next time, because of [`VerifyOptions::max_bytes`](super::VerifyOptions).
    pub left: u64,
    /// Objects that are missing, which was accepted, so that they are no finding; see
    /// [`VerifyOptions::accept_missing`](super::VerifyOptions).
    pub accepted: Vec<String>,
    /// What is wrong, by object.
    pub findings: Vec<Finding>,
    /// What cannot be brought back because of it.
    pub lost: Vec<Lost>,
}

impl Verification {
    /// The objects that nothing can be brought back with, by name: what is wrong, and what is missing for good.
    pub fn unusable(&self) -> impl Iterator<Item = &str> {
        let found = self.findings.iter().map(|finding| finding.object.as_str());
        found.chain(self.accepted.iter().map(String::as_str))
    }

    /// Whether anything of the cluster stands: where nothing does, a receipt would be all that does.
    #[must_use]
    pub fn is_anything_there(&self) -> bool {
        self.objects > 0
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}
