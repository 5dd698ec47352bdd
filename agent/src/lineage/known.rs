//! What is known of a timeline and of the source that it was captured from.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use revkeep_schemas::boltdb::META_BUCKET;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::kv::key_of;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::segment::{SealedSegment, SegmentReader};
use revkeep_schemas::{FormatError, Revision, Row, RowBuf};
use revkeep_vault::{
    BaseFacts, ErrorKind, Newest, Piece, ReadOptions, SegmentEntry, Timeline, Witness,
};
use tokio::sync::Notify;

use super::extent::{Extent, Held};
use super::raft::surplus;
use super::trail::digest;
use super::{RaftMark, Trail};
use crate::AgentError;
use crate::capture::joiner::Transaction;
use crate::spool::{Folder, Place};
use crate::target::Target;

/// Keys that are read back.
const TIP: usize = 8;
/// Rows among which the newest keys are looked for.
const TIP_ROWS: usize = 64;

/// The evidence that a source is compared with.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The source's cluster id.
    pub cluster_id: u64,
    /// Where its Raft log was seen.
    pub raft: RaftMark,
    /// What was captured.
    pub trail: Trail,
    /// The newest rows of the trail, the last of each key: what those keys are at its last revision.
    pub tip: Vec<RowBuf>,
    /// What the vault or the spool holds beyond what was captured without a hole.
    pub beyond: Option<Beyond>,
    /// One moment of the source, where nothing is captured yet.
    pub witness: Option<Witness>,
}

/// The end of a segment that is stored or waits beyond a hole, or before any base. The source has it too, unless it was set back since.
#[derive(Clone, Debug, Default)]
pub struct Beyond {
    /// Its last revision.
    pub revision: Revision,
    /// Its newest rows, the last of each key.
    pub tip: Vec<RowBuf>,
}

impl Beyond {
    /// Its rows, and the revision at which they are to be read.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&RowBuf, Revision)> {
        self.tip.iter().map(|row| (row, self.revision))
    }
}

/// Gathers the last row of each of the newest keys.
#[derive(Debug, Default)]
pub(super) struct Newest8 {
    rows: VecDeque<RowBuf>,
}

impl Newest8 {
    pub(super) fn row(&mut self, row: &Row<'_>) {
        self.rows.push_back(RowBuf {
            key: row.key,
            value: row.value.to_vec().into(),
        });
        if self.rows.len() > TIP_ROWS {
            self.rows.pop_front();
        }
    }

    pub(super) fn finish(self) -> Vec<RowBuf> {
        tip(self.rows.into_iter().rev())
    }
}

/// Where the Raft log stood in a base's snapshot.
fn surplus_of(facts: &BaseFacts) -> Option<i64> {
    let meta = facts
        .buckets
        .iter()
        .find(|bucket| bucket.name == META_BUCKET)?;
    let found = surplus(facts.revision, |name| {
        let mut entries = meta.entries.iter();
        let entry = entries.find(|(key, _)| key == name);
        Ok::<_, Infallible>(entry.map(|(_, value)| value.clone()))
    });
    let Ok(surplus) = found;
    surplus
}

/// Of rows with the newest first, the last of each key.
fn tip(rows: impl Iterator<Item = RowBuf>) -> Vec<RowBuf> {
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let newest = rows.filter(|row| {
        let key = key_of(&row.value).ok();
        key.is_some_and(|key| seen.insert(key.to_vec()))
    });
    newest.take(TIP).collect()
}

impl Known {
    /// Reads what the vault tells of a timeline, as far as it goes without a hole.
    ///
    /// # Errors
    /// As the store fails. What is damaged is evidence that is missing, and told.
    pub async fn read(timeline: &Timeline, newest: Option<&Newest>) -> Result<Self, AgentError> {
        let source = &timeline.record().source;
        let mut known = Self {
            cluster_id: source.cluster_id,
            ..Self::default()
        };
        if let Some(witness) = source.witness {
            known.raft = RaftMark {
                term: witness.raft_term,
                index: witness.raft_index,
                revision: witness.revision,
                surplus: witness.raft_surplus,
            };
        }
        let Some(newest) = newest else {
            known.witness = source.witness;
            return Ok(known);
        };
        let facts = &newest.base.facts;
        known.cluster_id = facts.cluster_id;
        known.raft = known.raft.later(RaftMark {
            term: facts.raft_term,
            index: facts.raft_index,
            revision: facts.revision,
            surplus: surplus_of(facts),
        });
        known.trail = Trail::after(newest.cursor);
        let last = newest.segments.iter().max_by_key(|entry| entry.last);
        let read = match last {
            Some(entry) => known.segment_of(timeline, entry).await,
            None => known.base_of(timeline, newest).await,
        };
        match read {
            Ok(()) => Ok(known),
            Err(AgentError::Vault(error)) if error.kind() == ErrorKind::Retry => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "the newest rows in the vault cannot be read, to be compared with the source");
                known.trail = Trail::after(newest.cursor);
                known.tip.clear();
                Ok(known)
            }
        }
    }

    /// The furthest revision that the source is known to have had.
    pub(super) fn reached(&self) -> Revision {
        let last = self.trail.last().unwrap_or_default();
        self.beyond().map_or(last, |beyond| beyond.revision)
    }

    /// What is stored beyond what was captured by now.
    pub(super) fn beyond(&self) -> Option<&Beyond> {
        let beyond = self.beyond.as_ref();
        beyond.filter(|beyond| Some(beyond.revision) > self.trail.last())
    }

    /// Whether there is content to compare although nothing is captured yet.
    pub(super) fn was_witnessed(&self) -> bool {
        let witness = self.witness.filter(|_| self.trail.last().is_none());
        witness.is_some_and(|witness| witness.revision > Revision::INITIAL)
    }

    /// Goes on to where the vault and the spool reach together, and takes what they hold beyond a hole as evidence.
    ///
    /// # Errors
    /// As the store fails. What is damaged is evidence that is missing, and told.
    pub(crate) async fn reaching(
        &mut self,
        target: &Target,
        state_dir: &Path,
        extent: &Extent,
    ) -> Result<(), AgentError> {
        let end = async |held: &Option<Held>| match held {
            Some(held) => Self::end(target, state_dir, held).await,
            None => Ok(None),
        };
        if let Some(reach) = extent.reach
            && self.trail.last() != Some(reach)
        {
            let read = end(&extent.end).await?.unwrap_or_default();
            (self.trail, self.tip) = (read.trail, read.tip);
            if self.trail.last() != Some(reach) {
                (self.trail, self.tip) = (Trail::after(reach), Vec::new());
            }
        }
        self.beyond = end(&extent.beyond).await?.map(|end| Beyond {
            revision: end.trail.last().unwrap_or_default(),
            tip: end.tip,
        });
        Ok(())
    }

    /// The end of one segment; `None` where it is damaged, which is told.
    async fn end(
        target: &Target,
        state_dir: &Path,
        held: &Held,
    ) -> Result<Option<Self>, AgentError> {
        let mut end = Self::default();
        let read = match held {
            Held::Stored(entry) => end.segment_of(&target.timeline, entry).await,
            Held::Waiting(name) => {
                let (folder, place, name) = (state_dir.to_path_buf(), Place::of(target), *name);
                let reading = move || Folder::peek(&folder, &place, name);
                match tokio::task::spawn_blocking(reading).await {
                    Ok(segment) => segment.and_then(|segment| end.follow(&segment)),
                    Err(error) => Err(AgentError::Internal(format!("reading the spool: {error}"))),
                }
            }
        };
        match read {
            Ok(()) => Ok(Some(end)),
            Err(AgentError::Vault(error)) if error.kind() == ErrorKind::Retry => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "the end of what was captured cannot be compared with the source");
                Ok(None)
            }
        }
    }

    async fn segment_of(
        &mut self,
        timeline: &Timeline,
        entry: &SegmentEntry,
    ) -> Result<(), AgentError> {
        let reader = timeline.segment(entry).await?;
        Ok(self.end_of(&reader)?)
    }

    /// A segment that follows, from the spool.
    ///
    /// # Errors
    /// [`AgentError::Format`] when it is damaged.
    pub fn follow(&mut self, segment: &SealedSegment) -> Result<(), AgentError> {
        let reader = SegmentReader::open(segment.bytes.clone(), &segment.identity)?;
        Ok(self.end_of(&reader)?)
    }

    fn end_of(&mut self, reader: &SegmentReader) -> Result<(), FormatError> {
        let Some(frame) = reader.index().frames.last() else {
            return Ok(());
        };
        let rows = reader.frame(frame)?;
        self.rows(frame.first.previous(), &rows)
    }

    /// Without a segment the end of the base is the newest: what its last chunk holds above the compact revision.
    async fn base_of(&mut self, timeline: &Timeline, newest: &Newest) -> Result<(), AgentError> {
        let Some(chunk) = newest.base.chunks.last() else {
            return Ok(());
        };
        let mut incoming = timeline.read_rows(vec![Piece::Chunk(*chunk)], ReadOptions::default());
        let mut plain = Vec::new();
        while let Some(rows) = incoming.recv().await {
            plain.extend_from_slice(&rows?.bytes);
        }
        // The first revision may have begun in the chunk before.
        let start = chunk.first.max(newest.base.facts.compact_revision);
        self.rows(start, &plain)?;
        if self.trail.last() != Some(newest.cursor) {
            self.trail = Trail::after(newest.cursor);
        }
        Ok(())
    }

    /// Takes whole revisions in order; those after `start` are complete.
    fn rows(&mut self, start: Revision, plain: &[u8]) -> Result<(), FormatError> {
        let mut newest = Newest8::default();
        let mut trail = Trail::after(start);
        let mut open: Option<(Revision, Vec<Row<'_>>)> = None;
        let close = |trail: &mut Trail, open: Option<(Revision, Vec<Row<'_>>)>| {
            if let Some((revision, rows)) = open {
                trail.push(revision, digest(rows));
            }
        };
        for row in EncodedRows::new(plain) {
            let row = row?;
            newest.row(&row);
            if row.key.main <= start {
                continue;
            }
            match &mut open {
                Some((revision, rows)) if *revision == row.key.main => rows.push(row),
                _ => close(&mut trail, open.replace((row.key.main, vec![row]))),
            }
        }
        close(&mut trail, open);
        self.trail = trail;
        self.tip = newest.finish();
        Ok(())
    }
}

/// What is known of the timeline that is captured, shared by all who read the source for it.
#[derive(Debug, Default)]
pub struct Lineage {
    known: Mutex<Known>,
    doubted: Notify,
}

impl Lineage {
    /// Begins with what was found.
    #[must_use]
    pub fn new(known: Known) -> Self {
        Self {
            known: Mutex::new(known),
            doubted: Notify::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        // Every change is whole before anything in it could panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, now.
    #[must_use]
    pub fn known(&self) -> Known {
        self.locked().clone()
    }

    /// A transaction was captured.
    pub fn captured(&self, transaction: &Transaction) {
        let rows = digest(transaction.rows.iter().map(RowBuf::as_row));
        let newest = transaction.rows.iter().rev().take(TIP_ROWS);
        let tip = tip(newest.cloned());
        let mut known = self.locked();
        known.trail.push(transaction.revision, rows);
        known.tip = tip;
    }

    /// Capture goes on after a snapshot at this revision, whose last rows are these.
    pub fn rebased(&self, revision: Revision, last: Option<RowDigest>, tip: Vec<RowBuf>) {
        let mut known = self.locked();
        if known.trail.last() == Some(revision) {
            return;
        }
        known.trail = Trail::after(last.map_or(revision, |_| revision.previous()));
        if let Some(last) = last {
            known.trail.push(revision, last);
        }
        known.tip = tip;
    }

    /// What was captured after a revision was not kept.
    pub fn cut(&self, last: Revision) {
        let mut known = self.locked();
        if known.trail.last() != Some(last) {
            known.trail.cut(last);
            known.tip.clear();
        }
    }

    /// What was captured is not what the source has.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits until that was found, once each time.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// The digest of one revision, where it is known, and where the source's Raft log stood.
    pub(crate) fn moment(&self, revision: Revision) -> (Option<RowDigest>, RaftMark) {
        let known = self.locked();
        (known.trail.digest_of(revision), known.raft)
    }

    /// Where the source's Raft log stands.
    pub fn seen(&self, mark: RaftMark) {
        let mut known = self.locked();
        known.raft = known.raft.later(mark);
    }
}

#[cfg(test)]
mod tests {
    use revkeep_vault::{SmallBucket, SourceIdentity, Vault};

    use super::*;
    use crate::testing::store_base_of;

    #[tokio::test]
    async fn the_surplus_is_that_of_the_newest_base_or_of_where_the_timeline_began() {
        let vault = Vault::create("memory:").await.unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let witness = Witness {
            raft_surplus: Some(-7),
            ..Witness::default()
        };
        let source = SourceIdentity {
            witness: Some(witness),
            ..SourceIdentity::default()
        };
        cluster.create_timeline(source, None).await.unwrap();
        let timeline = cluster.newest_timeline().await.unwrap().unwrap();
        let surplus = async || {
            let newest = timeline.newest().await.unwrap();
            let known = Known::read(&timeline, newest.as_ref()).await.unwrap();
            known.raft.surplus
        };
        assert_eq!(surplus().await, Some(-7));
        let index = 25_u64.to_be_bytes().to_vec();
        let meta = SmallBucket {
            name: META_BUCKET.to_vec(),
            entries: vec![(b"consistent_index".to_vec(), index)],
        };
        let facts = BaseFacts {
            revision: Revision(20),
            buckets: vec![meta],
            ..BaseFacts::default()
        };
        store_base_of(&timeline, facts).await;
        assert_eq!(surplus().await, Some(5));
    }
}
