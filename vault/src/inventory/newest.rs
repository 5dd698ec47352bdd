//! Where an agent goes on, and what counts of what is stored already.

use futures::{StreamExt, stream};
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseManifest;

use super::{Listing, PARALLEL_GETS, SegmentEntry};
use crate::error::{ErrorKind, VaultError};
use crate::holes::Range;
use crate::layout::{NameKind, ObjectName};
use crate::timeline::Timeline;

/// Where an agent goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The newest base whose manifest is sound.
    pub base: BaseManifest,
    /// The highest revision that is reachable from it without a hole.
    pub cursor: Revision,
    /// The segments on the way from the base to the cursor, by first and last revision.
    pub segments: Vec<SegmentEntry>,
    /// The segments that reach beyond the cursor, by first and last revision, where something is missing before them: of an
    /// agent that ended while several were on their way, or of one that still stores them.
    pub beyond: Vec<SegmentEntry>,
    /// Closed ranges that reach beyond the base and are recorded not to be what the source had. The cursor lies before them,
    /// and only a newer base moves it past them: no segment that holds any of these revisions counts, not even a later one.
    pub distrusted: Vec<(Revision, Revision)>,
}

/// All segments of a timeline that count, and why others do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The segments, by first and last revision.
    pub segments: Vec<SegmentEntry>,
    /// Closed ranges that are recorded not to be what the source had: no segment that holds any of them counts.
    pub distrusted: Vec<(Revision, Revision)>,
}

impl Trusted {
    /// Whether a segment of this closed range holds any of what is recorded not to be what the source had.
    pub fn distrusts(&self, first: Revision, last: Revision) -> bool {
        meets((first, last), &self.distrusted)
    }
}

fn meets((first, last): Range, others: &[Range]) -> bool {
    others
        .iter()
        .any(|(from, to)| first <= *to && last >= *from)
}

fn range_of(name: &ObjectName) -> Option<Range> {
    match name.kind {
        NameKind::Gap { first, last, .. } => Some((first, last)),
        _ => None,
    }
}

impl Timeline {
    /// The highest revision that is reachable without a hole from the newest base whose manifest is sound; `None`
    /// without a base.
    ///
    /// # Errors
    /// As [`Timeline::newest`].
    pub async fn cursor(&self) -> Result<Option<Revision>, VaultError> {
        Ok(self.newest().await?.map(|newest| newest.cursor))
    }

    /// The newest base whose manifest is sound, and how far segments go on from it; `None` without a base. Older bases
    /// are not read. What is distrusted does not count.
    ///
    /// # Errors
    /// `Config` when the newest base is of a newer Revkeep; as the store fails.
    pub async fn newest(&self) -> Result<Option<Newest>, VaultError> {
        let mut names = self.listing().await?;
        for name in names.bases.iter().rev() {
            let base = match self.base(name).await {
                Ok(base) => base,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    tracing::warn!(base = name.path(), %error, "a base cannot be used");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let from = base.facts.revision;
            let distrusted = self.drop_distrusted(&mut names, from).await?;
            let cursor = reach(&names.segments, from);
            let beyond = names.segments.iter().filter(|entry| entry.last > cursor);
            let beyond = beyond.cloned().collect();
            let mut segments = names.segments;
            segments.retain(|segment| segment.last > from && segment.first <= cursor);
            return Ok(Some(Newest {
                base,
                cursor,
                segments,
                beyond,
                distrusted,
            }));
        }
        Ok(None)
    }

    /// Every segment that counts, whether a base has its revisions too or not. Reads every recorded gap.
    ///
    /// # Errors
    /// `Config` when a recorded gap is of a newer Revkeep; as the store fails.
    pub async fn trusted(&self) -> Result<Trusted, VaultError> {
        let Listing {
            mut segments, gaps, ..
        } = self.listing().await?;
        let distrusted = self.distrusted(gaps).await?;
        segments.retain(|one| !meets((one.first, one.last), &distrusted));
        Ok(Trusted {
            segments,
            distrusted,
        })
    }

    /// Takes the segments that reach beyond a revision out that hold what is recorded not to be what the source had. Gives
    /// what is recorded so of revisions beyond it.
    async fn drop_distrusted(
        &self,
        names: &mut Listing,
        from: Revision,
    ) -> Result<Vec<Range>, VaultError> {
        let reaching = names.segments.iter().filter(|one| one.last > from);
        let reaching: Vec<_> = reaching.map(|one| (one.first, one.last)).collect();
        let mut gaps = names.gaps.clone();
        gaps.retain(|name| {
            range_of(name).is_some_and(|range| range.1 > from || meets(range, &reaching))
        });
        let mut distrusted = self.distrusted(gaps).await?;
        names
            .segments
            .retain(|one| one.last <= from || !meets((one.first, one.last), &distrusted));
        distrusted.retain(|(_, last)| *last > from);
        Ok(distrusted)
    }

    /// Which of these recorded gaps say that something is not what the source had. What is damaged says nothing.
    async fn distrusted(&self, gaps: Vec<ObjectName>) -> Result<Vec<Range>, VaultError> {
        let mut found = Vec::new();
        let mut records = stream::iter(gaps)
            .map(async |name| self.gap(&name).await)
            .buffered(PARALLEL_GETS);
        while let Some(record) = records.next().await {
            match record {
                Ok(gap) if gap.distrusted => found.push((gap.first, gap.last)),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// How far segments, sorted by their first revision, go on from a revision without a hole.
pub(crate) fn reach(segments: &[SegmentEntry], from: Revision) -> Revision {
    segments.iter().fold(from, |reached, segment| {
        if segment.first <= reached.next() {
            reached.max(segment.last)
        } else {
            reached
        }
    })
}
