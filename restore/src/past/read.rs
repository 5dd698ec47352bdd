//! Which stretch of which object is read, and what is in it.

use std::sync::Arc;

use revkeep_schemas::Revision;
use revkeep_schemas::key_filter::KeyFilter;
use revkeep_schemas::segment::Frame;
use revkeep_vault::{BaseManifest, ChunkRef, SegmentEntry, SegmentIndex, Timeline};

use super::limits::RUN_FRAMES;
use super::part::Part;
use super::selection::Piece;
use crate::error::{Kind, RestoreError};
use crate::source::promised;
use crate::survey::is_lost;

/// Rows of the revisions `[from, to]` of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) object: Object,
    pub(super) from: Revision,
    pub(super) to: Revision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Segment(SegmentEntry),
    Chunk(ChunkRef),
}

impl Read {
    /// A stretch of a segment.
    pub(super) fn segment(entry: &SegmentEntry, from: Revision, to: Revision) -> Self {
        Self {
            object: Object::Segment(entry.clone()),
            from,
            to,
        }
    }

    /// The chunks of a base that reach into a stretch.
    pub(super) fn base(
        manifest: &BaseManifest,
        from: Revision,
        to: Revision,
    ) -> impl Iterator<Item = Self> {
        let chunks = manifest.chunks.iter();
        chunks
            .filter(move |chunk| chunk.last >= from && chunk.first <= to)
            .map(move |chunk| Self {
                object: Object::Chunk(*chunk),
                from,
                to,
            })
    }

    /// The same read, of no more than `[from, to]`; `None` when nothing is left.
    pub(super) fn within(mut self, from: Revision, to: Revision) -> Option<Self> {
        self.from = self.from.max(from);
        self.to = self.to.min(to);
        let (first, last) = match &self.object {
            Object::Segment(entry) => (entry.first, entry.last),
            Object::Chunk(chunk) => (chunk.first, chunk.last),
        };
        let left = self.from <= self.to && first <= self.to && last >= self.from;
        left.then_some(self)
    }

    /// Reads the index of a segment, or the filter of a chunk.
    ///
    /// # Errors
    /// With the object's name in [`RestoreError::lost_object`] when the index of a segment cannot be used: another segment
    /// may have the same rows.
    pub(super) async fn look(self, timeline: &Timeline) -> Result<Looked, RestoreError> {
        let known = match &self.object {
            Object::Segment(entry) => match timeline.segment_index(entry).await {
                Ok(index) => Known::Index(Arc::new(index)),
                Err(error) if is_lost(&error) => {
                    return Err(RestoreError::new(Kind::Verification, error.to_string())
                        .of_lost_object(&entry.name));
                }
                Err(error) => return Err(error.into()),
            },
            Object::Chunk(chunk) => {
                Known::Filter(timeline.chunk_keys(chunk).await.map_err(promised)?)
            }
        };
        Ok(Looked { read: self, known })
    }
}

/// A read, and what is known of the keys in it.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    read: Read,
    known: Known,
}

#[derive(Clone, Debug)]
enum Known {
    Index(Arc<SegmentIndex>),
    Filter(Option<KeyFilter>),
}

impl Looked {
    /// The parts of it that may hold what is wanted, in the order of revisions.
    pub(super) fn parts(&self, wanted: impl Fn(Piece<'_>) -> bool) -> Vec<Part> {
        let Read { object, from, to } = &self.read;
        let (from, to) = (*from, *to);
        match (object, &self.known) {
            (Object::Segment(entry), Known::Index(index)) => {
                let frames = index.frames_of(from, to);
                let runs = runs(frames.filter(|frame| wanted(Piece::Frame(frame))));
                if runs.is_empty() {
                    return Vec::new();
                }
                let times = Arc::new(index.times.clone());
                runs.into_iter()
                    .map(|frames| Part::frames(entry.clone(), frames, times.clone(), from, to))
                    .collect()
            }
            (Object::Chunk(chunk), Known::Filter(filter))
                if wanted(Piece::Chunk(filter.as_ref())) =>
            {
                vec![Part::chunk(*chunk, from, to)]
            }
            _ => Vec::new(),
        }
    }
}

/// Frames that stand one after the other, a few at a time.
fn runs<'a>(frames: impl Iterator<Item = &'a Frame>) -> Vec<Vec<Frame>> {
    let mut runs: Vec<Vec<Frame>> = Vec::new();
    for frame in frames {
        // Its filter has done its work.
        let frame = Frame {
            keys: None,
            ..frame.clone()
        };
        match runs.last_mut() {
            Some(run)
                if run.len() < RUN_FRAMES
                    && run
                        .last()
                        .is_some_and(|last| last.last.next() == frame.first) =>
            {
                run.push(frame);
            }
            _ => runs.push(vec![frame]),
        }
    }
    runs
}
