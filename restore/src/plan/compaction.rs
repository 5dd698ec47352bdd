//! At which revision the result is compacted.

use revkeep_schemas::Revision;

use super::{History, Plan};

/// The source was seen to have compacted at `compact_revision` when its revision stood at `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactFact {
    /// The revision of the source when that was seen.
    pub after: Revision,
    /// The compact revision.
    pub compact_revision: Revision,
}

/// The compact revision of the result: that of the source at the target, as far as the vault knows, never below the plan's floor
/// and never above its target; the floor itself to keep everything; or what was asked for.
#[must_use]
pub fn compact_revision_at(plan: &Plan, history: History, facts: &[CompactFact]) -> Revision {
    let floor = plan.floor();
    match history {
        History::Everything => floor,
        History::CompactedAt(revision) => floor.max(revision.min(plan.target)),
        History::AsSource => facts
            .iter()
            .filter(|fact| fact.after <= plan.target && fact.compact_revision <= plan.target)
            .map(|fact| fact.compact_revision)
            .fold(floor, Ord::max),
    }
}
