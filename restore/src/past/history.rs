//! All that the vault knows of some keys, whatever the source has compacted since.

use futures::{Stream, StreamExt, TryStreamExt, stream};
use revkeep_schemas::Revision;

use super::limits::{PARALLEL_INDEXES, PARALLEL_PIECES};
use super::outstanding::newest_of_key;
use super::read::Read;
use super::{Selection, Version};
use crate::error::RestoreError;
use crate::plan::{Known, Stretch, known};
use crate::source::Source;

/// A version, and when an agent saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The version.
    pub version: Version,
    /// When it was seen, in milliseconds since 1970; a base does not say of its own history.
    pub seen: Option<i64>,
}

/// Everything that a timeline knows of a range of revisions.
#[derive(Clone, Debug)]
pub struct History {
    reads: Vec<Read>,
    /// Ranges, both ends included, of which the vault has only what was still there at their end: what was changed or deleted
    /// in them before that is not known.
    pub partly_known: Vec<(Revision, Revision)>,
}

impl History {
    /// What is known of the revisions `[from, to]`. Reads nothing.
    #[must_use]
    pub fn of(source: &Source, from: Revision, to: Revision) -> Self {
        let Known {
            stretches,
            partly_known,
        } = known(&source.holdings());
        let inventory = &source.inventory;
        let reads = stretches.into_iter().flat_map(|stretch| match stretch {
            Stretch::Segment(step) => {
                let entry = inventory.segments.get(step.segment);
                let read = entry.map(|entry| Read::segment(entry, step.from, step.to));
                read.into_iter().collect::<Vec<_>>()
            }
            Stretch::Base { base, from, to } => {
                let base = inventory.bases.get(base).map(|base| &base.manifest);
                base.into_iter()
                    .flat_map(|base| Read::base(base, from, to))
                    .collect()
            }
        });
        let overlap = |range: &(Revision, Revision)| range.0 <= to && range.1 >= from;
        Self {
            reads: reads.filter_map(|read| read.within(from, to)).collect(),
            partly_known: partly_known
                .into_iter()
                .filter(overlap)
                .map(|range| (range.0.max(from), range.1.min(to)))
                .collect(),
        }
    }

    /// The newest version of a key for which `accept` holds. Reads from the newest on and no further than that.
    ///
    /// # Errors
    /// When something is damaged or cannot be reached.
    pub async fn newest(
        &self,
        source: &Source,
        key: &[u8],
        accept: impl Fn(&Version) -> bool,
    ) -> Result<Option<Version>, RestoreError> {
        newest_of_key(&source.timeline, &self.reads, key, accept).await
    }

    /// All versions of the wanted keys, in the order of revisions, a piece at a time. Memory is that of a few pieces.
    ///
    /// # Errors
    /// When the index of a segment cannot be used, before any version is told; in the stream when rows are damaged.
    pub async fn versions(
        &self,
        source: &Source,
        selection: &Selection,
    ) -> Result<impl Stream<Item = Result<Vec<Told>, RestoreError>> + use<>, RestoreError> {
        let looking = stream::iter(self.reads.iter().cloned())
            .map(|read| read.look(&source.timeline))
            .buffered(PARALLEL_INDEXES);
        let parts: Vec<_> = looking
            .map_ok(|looked| looked.parts(|piece| selection.may_be_in(piece)))
            .try_concat()
            .await?;
        let (timeline, selection) = (source.timeline.clone(), selection.clone());
        let blocks = stream::iter(parts)
            .map(move |part| {
                let timeline = timeline.clone();
                async move { part.fetch(&timeline).await }
            })
            .buffered(PARALLEL_PIECES);
        Ok(blocks.map(move |block| {
            let block = block?;
            let versions = block.versions(|key| selection.wants(key))?;
            let told = versions.into_iter().map(|version| Told {
                seen: block.seen(version.at.main),
                version,
            });
            Ok(told.collect())
        }))
    }
}
