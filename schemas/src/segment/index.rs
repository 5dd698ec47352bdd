//! The index of a segment: what is in which frame, when it was seen, and facts of that time.

use bytes::Bytes;
use prost::Message;

use crate::digest::RowDigest;
use crate::key_filter::KeyFilter;
use crate::manifest::{self, Checkpoint, WireCheckpoint};
use crate::{FormatError, Revision};

/// The longest index that a reader accepts, in bytes.
pub const MAX_INDEX_LEN: u64 = 16 * 1024 * 1024;

/// One zstd frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins, in bytes from the start of the object.
    pub offset: u64,
    /// Its bytes in the object.
    pub stored_len: u64,
    /// The bytes of its encoded rows.
    pub plain_len: u64,
    /// Its first revision.
    pub first: Revision,
    /// Its last revision; the next frame begins with the one after.
    pub last: Revision,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256 of its bytes in the object.
    pub sha256: [u8; 32],
    /// A lower bound of the user keys in it: the smallest, cut to 256 bytes.
    pub min_key: Vec<u8>,
    /// An upper bound of the user keys in it; `None` where the largest has more than 256 bytes.
    pub max_key: Option<Vec<u8>>,
    /// Which user keys may be in it; `None` where nothing is known of that.
    pub keys: Option<KeyFilter>,
}

impl Frame {
    /// Whether a row of this key may be in it; `false` is certain.
    pub fn may_hold(&self, key: &[u8]) -> bool {
        self.min_key.as_slice() <= key
            && self.max_key.as_deref().is_none_or(|max| key <= max)
            && self.keys.as_ref().is_none_or(|keys| keys.may_hold(key))
    }

    /// Whether a row of a key that begins with `prefix` may be in it; `false` is certain.
    pub fn may_hold_prefix(&self, prefix: &[u8]) -> bool {
        let min = &self.min_key;
        (min.as_slice() <= prefix || min.starts_with(prefix))
            && self.max_key.as_deref().is_none_or(|max| prefix <= max)
            && self
                .keys
                .as_ref()
                .is_none_or(|keys| keys.may_hold_prefix(prefix))
    }
}

/// From this revision on, up to the next mark, changes were seen at this time of the agent's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeMark {
    /// The first revision that it holds for.
    pub revision: Revision,
    /// The time, in milliseconds since 1970.
    pub unix_ms: i64,
}

/// What a lease was granted, learned when it was first seen on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseFact {
    /// The lease's id.
    pub id: i64,
    /// Its granted time to live, in seconds.
    pub granted_ttl_s: i64,
    /// The revision of the row that it was first seen on.
    pub first_seen: Revision,
}

/// When the source stood at `revision`, it had been compacted at `compact_revision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionMark {
    /// Where the source stood.
    pub revision: Revision,
    /// Its compact revision then.
    pub compact_revision: Revision,
}

/// All that a segment says about its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The frames, in order; they fill the space between envelope and index.
    pub frames: Vec<Frame>,
    /// Times, in the order of revisions; the first one is at the segment's first revision.
    pub times: Vec<TimeMark>,
    /// Leases first seen here.
    pub leases: Vec<LeaseFact>,
    /// Compactions first seen here, in order.
    pub compactions: Vec<CompactionMark>,
    /// What the source said about its rows at revisions of this segment.
    pub checkpoints: Vec<Checkpoint>,
    /// The digest of all rows.
    pub digest: RowDigest,
    /// How many rows all frames have.
    pub rows: u64,
    /// Bytes of all encoded rows.
    pub plain_bytes: u64,
}

impl SegmentIndex {
    /// The time at which a revision was seen, or `None` when it is before the first mark.
    pub fn time_of(&self, revision: Revision) -> Option<i64> {
        let after = self.times.partition_point(|mark| mark.revision <= revision);
        after
            .checked_sub(1)
            .and_then(|at| self.times.get(at))
            .map(|mark| mark.unix_ms)
    }

    /// The frames that hold revisions of `[from, to]`.
    pub fn frames_of(&self, from: Revision, to: Revision) -> impl Iterator<Item = &Frame> {
        self.frames
            .iter()
            .filter(move |frame| frame.first <= to && frame.last >= from)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        Wire::from(self).encode_to_vec()
    }

    /// Reads an index whose hash was checked, and checks that it describes a segment of `[first, last]` whose frames
    /// stand between the two offsets.
    pub(crate) fn decode(
        bytes: &[u8],
        range: (Revision, Revision),
        space: (u64, u64),
    ) -> Result<Self, FormatError> {
        let wire =
            Wire::decode(bytes).map_err(|error| wrong("a protobuf message", error.to_string()))?;
        let index = Self::try_from(wire)?;
        index.check(range, space)?;
        Ok(index)
    }

    fn check(&self, range: (Revision, Revision), space: (u64, u64)) -> Result<(), FormatError> {
        let mut offset = space.0;
        let mut next = range.0;
        let mut rows = 0_u64;
        let mut plain = 0_u64;
        for frame in &self.frames {
            if frame.offset != offset || frame.first != next || frame.last < frame.first {
                return Err(wrong("frames without a hole", format!("{frame:?}")));
            }
            offset = offset.saturating_add(frame.stored_len);
            next = frame.last.next();
            rows = rows.saturating_add(frame.rows);
            plain = plain.saturating_add(frame.plain_len);
        }
        if offset != space.1 || next != range.1.next() || range.1 < range.0 {
            return Err(wrong(
                "frames that fill the segment",
                format!("the last at {offset} and revision {next}"),
            ));
        }
        if (rows, plain) != (self.rows, self.plain_bytes) {
            return Err(wrong("sums of its frames", format!("{} rows", self.rows)));
        }
        if !self.times.is_sorted_by(|a, b| a.revision < b.revision) {
            return Err(wrong(
                "time marks in order",
                format!("{:?}", self.times.first()),
            ));
        }
        Ok(())
    }
}

fn wrong(expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::corrupt("segment index", 0, expected, found)
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(message, repeated, tag = "1")]
    frames: Vec<WireFrame>,
    /// Each as the difference from the one before.
    #[prost(int64, repeated, tag = "2")]
    time_revisions: Vec<i64>,
    /// Each as the difference from the one before.
    #[prost(sint64, repeated, tag = "3")]
    time_unix_ms: Vec<i64>,
    #[prost(message, repeated, tag = "4")]
    leases: Vec<WireLease>,
    #[prost(message, repeated, tag = "5")]
    compactions: Vec<WireCompaction>,
    #[prost(message, repeated, tag = "6")]
    checkpoints: Vec<WireCheckpoint>,
    #[prost(bytes = "vec", tag = "7")]
    digest: Vec<u8>,
    #[prost(uint64, tag = "8")]
    rows: u64,
    #[prost(uint64, tag = "9")]
    plain_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WireFrame {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint64, tag = "2")]
    stored_len: u64,
    #[prost(uint64, tag = "3")]
    plain_len: u64,
    #[prost(int64, tag = "4")]
    first: i64,
    #[prost(int64, tag = "5")]
    last: i64,
    #[prost(uint64, tag = "6")]
    rows: u64,
    #[prost(bytes = "vec", tag = "7")]
    sha256: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    min_key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "9")]
    max_key: Option<Vec<u8>>,
    #[prost(bytes = "bytes", tag = "10")]
    keys: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireLease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    granted_ttl_s: i64,
    #[prost(int64, tag = "3")]
    first_seen: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireCompaction {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(int64, tag = "2")]
    compact_revision: i64,
}

/// Differences of neighbours, and back: wrapping, so that no input can overflow.
fn differences(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let step = |before: &mut i64, number: i64| {
        let difference = number.wrapping_sub(*before);
        *before = number;
        Some(difference)
    };
    numbers.scan(0, step).collect()
}

fn sums(differences: Vec<i64>) -> impl Iterator<Item = i64> {
    differences.into_iter().scan(0_i64, |sum, difference| {
        *sum = sum.wrapping_add(difference);
        Some(*sum)
    })
}

impl From<&SegmentIndex> for Wire {
    fn from(index: &SegmentIndex) -> Self {
        let lease = |fact: &LeaseFact| WireLease {
            id: fact.id,
            granted_ttl_s: fact.granted_ttl_s,
            first_seen: fact.first_seen.0,
        };
        let compaction = |mark: &CompactionMark| WireCompaction {
            revision: mark.revision.0,
            compact_revision: mark.compact_revision.0,
        };
        Self {
            frames: index.frames.iter().map(WireFrame::from).collect(),
            time_revisions: differences(index.times.iter().map(|mark| mark.revision.0)),
            time_unix_ms: differences(index.times.iter().map(|mark| mark.unix_ms)),
            leases: index.leases.iter().map(lease).collect(),
            compactions: index.compactions.iter().map(compaction).collect(),
            checkpoints: index
                .checkpoints
                .iter()
                .copied()
                .map(WireCheckpoint::from)
                .collect(),
            digest: index.digest.to_bytes().to_vec(),
            rows: index.rows,
            plain_bytes: index.plain_bytes,
        }
    }
}

impl TryFrom<Wire> for SegmentIndex {
    type Error = FormatError;

    fn try_from(wire: Wire) -> Result<Self, FormatError> {
        if wire.time_revisions.len() != wire.time_unix_ms.len() {
            return Err(wrong("as many times as revisions", "another number"));
        }
        let lease = |wire: WireLease| LeaseFact {
            id: wire.id,
            granted_ttl_s: wire.granted_ttl_s,
            first_seen: Revision(wire.first_seen),
        };
        let compaction = |wire: WireCompaction| CompactionMark {
            revision: Revision(wire.revision),
            compact_revision: Revision(wire.compact_revision),
        };
        let time = |(revision, unix_ms)| TimeMark {
            revision: Revision(revision),
            unix_ms,
        };
        Ok(Self {
            frames: wire
                .frames
                .into_iter()
                .map(Frame::try_from)
                .collect::<Result<_, _>>()?,
            times: sums(wire.time_revisions)
                .zip(sums(wire.time_unix_ms))
                .map(time)
                .collect(),
            leases: wire.leases.into_iter().map(lease).collect(),
            compactions: wire.compactions.into_iter().map(compaction).collect(),
            checkpoints: wire.checkpoints.into_iter().map(Checkpoint::from).collect(),
            digest: manifest::digest(&wire.digest)?,
            rows: wire.rows,
            plain_bytes: wire.plain_bytes,
        })
    }
}

impl From<&Frame> for WireFrame {
    fn from(frame: &Frame) -> Self {
        Self {
            offset: frame.offset,
            stored_len: frame.stored_len,
            plain_len: frame.plain_len,
            first: frame.first.0,
            last: frame.last.0,
            rows: frame.rows,
            sha256: frame.sha256.to_vec(),
            min_key: frame.min_key.clone(),
            max_key: frame.max_key.clone(),
            keys: frame
                .keys
                .as_ref()
                .map(KeyFilter::encode)
                .unwrap_or_default()
                .into(),
        }
    }
}

impl TryFrom<WireFrame> for Frame {
    type Error = FormatError;

    fn try_from(wire: WireFrame) -> Result<Self, FormatError> {
        let sha256 = wire.sha256.as_slice().try_into().map_err(|_| {
            wrong(
                "a SHA-256 of 32 bytes",
                format!("{} bytes", wire.sha256.len()),
            )
        })?;
        let keys = if wire.keys.is_empty() {
            None
        } else {
            KeyFilter::decode(&wire.keys)?
        };
        Ok(Self {
            keys,
            offset: wire.offset,
            stored_len: wire.stored_len,
            plain_len: wire.plain_len,
            first: Revision(wire.first),
            last: Revision(wire.last),
            rows: wire.rows,
            sha256,
            min_key: wire.min_key,
            max_key: wire.max_key,
        })
    }
}
