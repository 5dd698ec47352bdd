//! What needs no source any more: once it is covered, or whole in the spool of an agent and the vault leads to it, it stays.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use revkeep_schemas::Revision;

use crate::invariants::Held;

/// Closed ranges by timeline.
pub(crate) type Ranges = BTreeMap<String, Vec<(Revision, Revision)>>;

/// What must be covered in the end, whatever the source compacts from then on.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    ranges: Ranges,
}

impl Promises {
    /// An agent begins a life with this in its spool.
    pub(crate) fn made_by(&mut self, all: &[Held], spooled: &Ranges) {
        for held in all {
            let waiting = spooled.get(&held.id()).cloned().unwrap_or_default();
            let covered = held.covered_with(&waiting);
            self.ranges.entry(held.id()).or_default().extend(covered);
        }
    }

    /// All of it is covered in a timeline that was captured to its end.
    pub(crate) fn kept_by(&self, held: &Held) -> Result<()> {
        for (first, last) in self.ranges.get(&held.id()).into_iter().flatten() {
            let mut covered = held.ranges().iter();
            ensure!(
                covered.any(|(from, to)| from <= first && last <= to),
                "{first} to {last} were stored, or whole in the spool of an agent that began after that, and are lost: {:?}",
                held.ranges()
            );
        }
        Ok(())
    }
}
