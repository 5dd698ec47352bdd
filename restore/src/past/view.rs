//! One revision, read in place.

use revkeep_schemas::Revision;

use super::outstanding::{Held, Newest, newest_of_each, newest_of_keys};
use super::read::Read;
use super::{Selection, Version};
use crate::error::RestoreError;
use crate::plan::{History, Plan, Target, choose};
use crate::source::Source;

/// What was found at a revision: live keys with their versions, in the order of the keys.
pub type Found = Vec<Version>;

/// A revision of a timeline.
#[derive(Clone, Debug)]
pub struct View {
    source: Source,
    revision: Revision,
    /// In the order of revisions; every row of the revision is in one of them.
    reads: Vec<Read>,
    /// What to do where there is more than can be held.
    advice: &'static str,
}

impl View {
    /// Opens a revision. Reads no rows.
    ///
    /// # Errors
    /// As [`choose`].
    pub fn at(source: &Source, target: Target) -> Result<Self, RestoreError> {
        let target = source.resolve(target);
        let plan = choose(&source.holdings(), target, History::AsSource)
            .map_err(|refusal| source.explain(refusal, target, History::AsSource))?;
        Self::of_plan(source, &plan)
    }

    /// The revision of a plan, by the way that the plan takes.
    pub(super) fn of_plan(source: &Source, plan: &Plan) -> Result<Self, RestoreError> {
        let base = source.base(plan)?;
        let mut reads: Vec<_> = Read::base(base, Revision::ZERO, plan.target).collect();
        let segments = plan.steps.iter().filter_map(|step| {
            let entry = source.inventory.segments.get(step.segment)?;
            Some(Read::segment(entry, step.from, step.to))
        });
        reads.extend(segments);
        Ok(Self {
            source: source.clone(),
            revision: plan.target,
            reads,
            advice: "a longer --prefix",
        })
    }

    /// Says what to do where more is asked for than can be held, in the words of the command.
    #[must_use]
    pub const fn advising(mut self, advice: &'static str) -> Self {
        self.advice = advice;
        self
    }

    /// Its revision.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The wanted keys that are there at this revision. Without `values`, values are empty.
    ///
    /// # Errors
    /// When something is damaged or cannot be reached, or more than [`super::MAX_HELD_BYTES`] are asked for.
    pub async fn get(&self, selection: &Selection, values: bool) -> Result<Found, RestoreError> {
        let held = Held::new(self.advice);
        let newest =
            newest_of_each(&self.source.timeline, &self.reads, selection, values, held).await?;
        let live = newest
            .into_values()
            .filter(|version| !version.is_deletion());
        Ok(live.collect())
    }

    /// What these keys are at this revision; those that are not there are left out.
    pub(super) async fn look_up(&self, keys: &[&[u8]]) -> Result<Newest, RestoreError> {
        let mut newest = newest_of_keys(
            &self.source.timeline,
            &self.reads,
            keys,
            Held::new(self.advice),
        )
        .await?;
        newest.retain(|_, version| !version.is_deletion());
        Ok(newest)
    }

    /// The newest version of every wanted key after `after`, deletions too: of what happened since then all that counts.
    /// Sound only where no row after `after` was compacted away.
    pub(super) async fn changed_since(
        &self,
        after: Revision,
        selection: &Selection,
    ) -> Result<Newest, RestoreError> {
        let later: Vec<_> = self
            .reads
            .iter()
            .cloned()
            .filter_map(|read| read.within(after.next(), self.revision))
            .collect();
        newest_of_each(
            &self.source.timeline,
            &later,
            selection,
            true,
            Held::new(self.advice),
        )
        .await
    }
}
