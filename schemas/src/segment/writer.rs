//! Makes segments, revision by revision.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::footer::SegmentFooter;
use super::index::{CompactionMark, Frame, LeaseFact, SegmentIndex, TimeMark};
use super::reader::MAX_FRAME_PLAIN_BYTES;
use crate::digest::RowDigest;
use crate::envelope::{Envelope, Identity, Kind};
use crate::key_filter::{KeyFilterBuilder, MIN_FILTERED_BYTES};
use crate::kv::key_of;
use crate::manifest::Checkpoint;
use crate::names::{ClusterName, TimelineId, Uid, VaultId};
use crate::{FormatError, Revision, Row};

/// A frame ends with the revision that brings it to so many plain bytes.
const FRAME_TARGET_BYTES: usize = 1024 * 1024;
/// Bounds of user keys are cut to so many bytes.
const KEY_BOUND_BYTES: usize = 256;

/// Where a segment belongs and who writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOrigin {
    /// Its vault.
    pub vault: VaultId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its timeline.
    pub timeline: TimelineId,
    /// 0 for what agents flush; higher for merges.
    pub level: u8,
    /// The suffix that makes its name unique: random, never used twice.
    pub uid: Uid,
    /// Program, version and host, for people.
    pub writer: String,
}

impl SegmentOrigin {
    fn identity(&self, first: Revision, last: Revision) -> Identity {
        Identity {
            kind: Kind::Segment,
            vault: self.vault,
            cluster: Some(self.cluster.clone()),
            timeline: Some(self.timeline),
            first,
            last,
            level: self.level,
            name: self.uid.to_string(),
        }
    }
}

/// A finished segment: the bytes of the object, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Which object it is.
    pub identity: Identity,
    /// Its first revision.
    pub first: Revision,
    /// Its last revision.
    pub last: Revision,
    /// The suffix of its name.
    pub uid: Uid,
    /// The object.
    pub bytes: Bytes,
    /// Its index.
    pub index: SegmentIndex,
}

impl SealedSegment {
    /// Takes up a segment again that was sealed before, for example from a spool on disk, and verifies all of it.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is damaged, or no segment.
    pub fn open(bytes: Bytes) -> Result<Self, FormatError> {
        let identity = Envelope::decode(&bytes)?.identity;
        let reader = super::SegmentReader::open(bytes.clone(), &identity)?;
        reader.verify()?;
        Ok(Self {
            first: identity.first,
            last: identity.last,
            uid: identity.name.parse()?,
            index: reader.into_index(),
            identity,
            bytes,
        })
    }
}

/// Collects whole revisions, compressing as it goes.
#[derive(Debug)]
pub struct SegmentWriter {
    origin: SegmentOrigin,
    zstd_level: i32,
    range: Option<(Revision, Revision)>,
    packed: Vec<u8>,
    plain: Vec<u8>,
    frame: Option<Frame>,
    keys: KeyFilterBuilder,
    index: SegmentIndex,
}

impl SegmentWriter {
    /// An empty segment. The zstd level is a matter of cost, 1 to 3 for what is written live.
    pub fn new(origin: SegmentOrigin, zstd_level: i32) -> Self {
        Self {
            origin,
            zstd_level,
            range: None,
            packed: Vec::new(),
            plain: Vec::new(),
            frame: None,
            keys: KeyFilterBuilder::default(),
            index: SegmentIndex::default(),
        }
    }

    /// Whether no revision was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.range.is_none()
    }

    /// The first and last revision pushed so far.
    pub fn range(&self) -> Option<(Revision, Revision)> {
        self.range
    }

    /// Bytes of all encoded rows pushed so far.
    pub fn plain_bytes(&self) -> u64 {
        self.index.plain_bytes
    }

    /// Rows pushed so far.
    pub fn rows(&self) -> u64 {
        self.index.rows
    }

    /// Appends one whole revision: all its rows in the order of `sub`, and when it was seen.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] when there is no row, rows are of several revisions or out of order, or the revision is
    /// not the one after the last; nothing was appended then.
    pub fn push_revision(&mut self, rows: &[Row<'_>], unix_ms: i64) -> Result<(), FormatError> {
        let revision = self.check(rows)?;
        let before = self.plain.len();
        let mut bounds = Bounds::default();
        let mut digest = RowDigest::default();
        for row in rows {
            if let Err(error) = bounds
                .add(row)
                .and_then(|()| row.append_to(&mut self.plain))
            {
                self.plain.truncate(before);
                return Err(error);
            }
            digest.add(row);
        }
        for row in rows {
            self.keys.add(key_of(row.value)?);
        }
        let bytes = self.plain.len() - before;
        let count = rows.len() as u64;
        self.index.digest = self.index.digest.combine(digest);
        self.index.rows += count;
        self.index.plain_bytes += bytes as u64;
        if self
            .index
            .times
            .last()
            .is_none_or(|mark| mark.unix_ms != unix_ms)
        {
            self.index.times.push(TimeMark { revision, unix_ms });
        }
        let first = self.range.map_or(revision, |(first, _)| first);
        self.range = Some((first, revision));
        self.extend_frame(revision, count, bounds);
        if self.plain.len() >= FRAME_TARGET_BYTES {
            self.end_frame()?;
        }
        Ok(())
    }

    fn check(&self, rows: &[Row<'_>]) -> Result<Revision, FormatError> {
        let misuse = |reason: String| Err(FormatError::misuse("append to a segment", reason));
        let Some(first) = rows.first() else {
            return misuse("a revision has at least one row".into());
        };
        let revision = first.key.main;
        if let Some((_, last)) = self.range
            && revision != last.next()
        {
            return misuse(format!(
                "revision {revision} does not follow revision {last}"
            ));
        }
        if revision < Revision::INITIAL {
            return misuse(format!("{revision} is no revision"));
        }
        let whole = rows.iter().all(|row| row.key.main == revision)
            && rows.is_sorted_by(|a, b| a.key.sub < b.key.sub);
        if !whole {
            return misuse(format!(
                "the rows of revision {revision} are not in order, or not its own"
            ));
        }
        let bytes: u64 = rows.iter().map(|row| row.encoded_len() as u64).sum();
        if bytes + FRAME_TARGET_BYTES as u64 > MAX_FRAME_PLAIN_BYTES {
            return misuse(format!(
                "revision {revision} has {bytes} bytes, more than a frame can hold"
            ));
        }
        Ok(revision)
    }

    fn extend_frame(&mut self, revision: Revision, rows: u64, bounds: Bounds) {
        let frame = self.frame.get_or_insert_with(|| Frame {
            offset: 0,
            stored_len: 0,
            plain_len: 0,
            first: revision,
            last: revision,
            rows: 0,
            sha256: [0; 32],
            min_key: bounds.min.clone().unwrap_or_default(),
            max_key: Some(Vec::new()),
            keys: None,
        });
        frame.last = revision;
        frame.rows += rows;
        if let Some(min) = bounds.min
            && min < frame.min_key
        {
            frame.min_key = min;
        }
        frame.max_key = match (frame.max_key.take(), bounds.max) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
    }

    fn end_frame(&mut self) -> Result<(), FormatError> {
        let Some(mut frame) = self.frame.take() else {
            return Ok(());
        };
        let packed = zstd::bulk::compress(&self.plain, self.zstd_level)
            .map_err(FormatError::io("pack a frame"))?;
        frame.offset = self.packed.len() as u64;
        frame.stored_len = packed.len() as u64;
        frame.plain_len = self.plain.len() as u64;
        frame.sha256 = Sha256::digest(&packed).into();
        if self.plain.len() >= MIN_FILTERED_BYTES {
            frame.keys = self.keys.finish();
        }
        self.keys.clear();
        self.packed.extend_from_slice(&packed);
        self.plain.clear();
        self.index.frames.push(frame);
        Ok(())
    }

    /// Adds what was learned of a lease.
    pub fn lease(&mut self, fact: LeaseFact) {
        self.index.leases.push(fact);
    }

    /// Adds that the source was compacted.
    pub fn compaction(&mut self, mark: CompactionMark) {
        self.index.compactions.push(mark);
    }

    /// Adds what the source said about its rows.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.index.checkpoints.push(checkpoint);
    }

    /// Seals it.
    ///
    /// # Errors
    /// [`FormatError::Misuse`] when it is empty, [`FormatError::Unsupported`] when its index grew past
    /// [`super::MAX_INDEX_LEN`].
    pub fn finish(mut self) -> Result<SealedSegment, FormatError> {
        self.end_frame()?;
        let Some((first, last)) = self.range else {
            return Err(FormatError::misuse("seal a segment", "it has no revision"));
        };
        let identity = self.origin.identity(first, last);
        let mut object = Envelope::encode(&identity, &self.origin.writer);
        let envelope_len = object.len();
        for frame in &mut self.index.frames {
            frame.offset += envelope_len as u64;
        }
        let mut index = self.index.encode();
        if index.len() as u64 > super::MAX_INDEX_LEN {
            // They only save time.
            self.index
                .frames
                .iter_mut()
                .for_each(|frame| frame.keys = None);
            index = self.index.encode();
        }
        if index.len() as u64 > super::MAX_INDEX_LEN {
            return Err(FormatError::unsupported(
                "seal a segment",
                "its index is too long; seal after fewer revisions",
            ));
        }
        let footer = SegmentFooter {
            frames_offset: envelope_len as u64,
            index_offset: (envelope_len + self.packed.len()) as u64,
            index_len: index.len() as u64,
        };
        let footer = footer.encode(&object, &index);
        object.reserve_exact(self.packed.len() + index.len() + footer.len());
        object.extend_from_slice(&self.packed);
        object.extend_from_slice(&index);
        object.extend_from_slice(&footer);
        Ok(SealedSegment {
            identity,
            first,
            last,
            uid: self.origin.uid,
            bytes: object.into(),
            index: self.index,
        })
    }
}

/// The range of user keys of one revision.
#[derive(Default)]
struct Bounds {
    min: Option<Vec<u8>>,
    max: Option<Vec<u8>>,
    seen: bool,
}

impl Bounds {
    fn add(&mut self, row: &Row<'_>) -> Result<(), FormatError> {
        let key = key_of(row.value)?;
        let short = key.get(..KEY_BOUND_BYTES).unwrap_or(key);
        if self.min.as_deref().is_none_or(|min| short < min) {
            self.min = Some(short.to_vec());
        }
        if key.len() > KEY_BOUND_BYTES {
            self.max = None;
        } else if !self.seen || self.max.as_deref().is_some_and(|max| key > max) {
            self.max = Some(key.to_vec());
        }
        self.seen = true;
        Ok(())
    }
}
