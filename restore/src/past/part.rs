//! Parts of objects that are fetched at once, and the versions in them.

use std::sync::Arc;

use bytes::Bytes;
use revkeep_schemas::Revision;
use revkeep_schemas::kv::key_of;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::segment::{Frame, TimeMark};
use revkeep_vault::{ChunkRef, SegmentEntry, Timeline};

use super::Version;
use crate::error::RestoreError;
use crate::source::promised;

/// Frames of a segment that stand one after the other, or a chunk of a base.
#[derive(Clone, Debug)]
pub(super) struct Part {
    what: What,
    from: Revision,
    to: Revision,
}

#[derive(Clone, Debug)]
enum What {
    Frames {
        entry: SegmentEntry,
        frames: Vec<Frame>,
        times: Arc<Vec<TimeMark>>,
    },
    Chunk(ChunkRef),
}

impl Part {
    pub(super) fn frames(
        entry: SegmentEntry,
        frames: Vec<Frame>,
        times: Arc<Vec<TimeMark>>,
        from: Revision,
        to: Revision,
    ) -> Self {
        let what = What::Frames {
            entry,
            frames,
            times,
        };
        Self { what, from, to }
    }

    pub(super) fn chunk(chunk: ChunkRef, from: Revision, to: Revision) -> Self {
        Self {
            what: What::Chunk(chunk),
            from,
            to,
        }
    }

    /// The same part as single frames.
    pub(super) fn singly(self) -> Vec<Self> {
        let Self { what, from, to } = self;
        match what {
            What::Frames {
                entry,
                frames,
                times,
            } => frames
                .into_iter()
                .map(|frame| Self::frames(entry.clone(), vec![frame], times.clone(), from, to))
                .collect(),
            What::Chunk(chunk) => vec![Self::chunk(chunk, from, to)],
        }
    }

    /// Fetches, verifies and unpacks it.
    pub(super) async fn fetch(self, timeline: &Timeline) -> Result<Block, RestoreError> {
        let (rows, times) = match self.what {
            What::Frames {
                entry,
                frames,
                times,
            } => {
                let rows = timeline.frames(&entry, frames).await.map_err(promised)?;
                (rows, Some(times))
            }
            What::Chunk(chunk) => {
                let rows = timeline.chunk(chunk).await.map_err(promised)?;
                (vec![rows], None)
            }
        };
        Ok(Block {
            rows,
            times,
            from: self.from,
            to: self.to,
        })
    }
}

/// Rows that were fetched.
#[derive(Clone, Debug)]
pub(super) struct Block {
    rows: Vec<Bytes>,
    times: Option<Arc<Vec<TimeMark>>>,
    from: Revision,
    to: Revision,
}

impl Block {
    /// The versions of wanted keys, in order.
    pub(super) fn versions(
        &self,
        wants: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Version>, RestoreError> {
        let mut found = Vec::new();
        for rows in &self.rows {
            for row in EncodedRows::new(rows) {
                let row = row?;
                let inside = self.from <= row.key.main && row.key.main <= self.to;
                if inside && wants(key_of(row.value)?) {
                    found.push(Version::of(&row)?);
                }
            }
        }
        Ok(found)
    }

    /// When a revision in it was seen, in milliseconds since 1970; a base does not say.
    pub(super) fn seen(&self, revision: Revision) -> Option<i64> {
        let times = self.times.as_ref()?;
        let after = times.partition_point(|mark| mark.revision <= revision);
        let mark = times.get(after.checked_sub(1)?)?;
        Some(mark.unix_ms).filter(|time| *time > 0)
    }
}
