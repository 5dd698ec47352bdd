//! What was found in the vault of one cluster: rows before they are written.

use std::collections::BTreeMap;

use revkeep_schemas::manifest::{Checkpoint, GapRecord, Head, PinRecord, Receipt, TimelineRecord};
use revkeep_schemas::names::{PinName, TimelineId};

use super::super::marks::Mark;
use super::listing::Meta;
use crate::layout::NameKind;

/// The place of an object in its cluster.
pub(super) type Place = (TimelineId, NameKind);

/// What a base's manifest says, without its chunks.
pub(super) struct BaseRow {
    pub(super) compact_revision: i64,
    pub(super) started_ms: i64,
    pub(super) finished_ms: i64,
    pub(super) rows: u64,
    pub(super) plain_bytes: u64,
    pub(super) chunk_bytes: u64,
    pub(super) chunks: u64,
    pub(super) etcd_version: String,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// What a segment's index says.
#[derive(Default)]
pub(super) struct SegmentRow {
    pub(super) rows: u64,
    pub(super) plain_bytes: u64,
    pub(super) first_ms: Option<i64>,
    pub(super) last_ms: Option<i64>,
    pub(super) min_key: Option<Vec<u8>>,
    pub(super) max_key: Option<Vec<u8>>,
    pub(super) marks: Vec<Mark>,
    pub(super) checkpoints: Vec<Checkpoint>,
}

/// An object that was read.
pub(super) enum Content {
    Timeline(TimelineRecord),
    Base(Box<BaseRow>),
    Segment(Box<SegmentRow>),
    Gap(GapRecord),
    /// It is there and cannot be used.
    Damaged(String),
}

/// An object that is new.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) meta: Meta,
    pub(super) content: Content,
}

/// A pin that is new or has changed.
pub(super) struct FoundPin {
    pub(super) name: PinName,
    pub(super) meta: Meta,
    /// Or why it cannot be read.
    pub(super) pin: Result<PinRecord, String>,
}

/// A receipt that is new.
pub(super) struct FoundReceipt {
    pub(super) name: String,
    pub(super) meta: Meta,
    /// Or why it cannot be read.
    pub(super) receipt: Result<Receipt, String>,
}

/// A round of deletions that is new or went on.
#[derive(Default)]
pub(super) struct RoundRow {
    pub(super) number: u32,
    /// When the store took mark, verdict, sweep and swept.
    pub(super) stored: [Option<i64>; 4],
    pub(super) taken_back: bool,
    pub(super) bases: u64,
    pub(super) segments: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
    /// What it deletes.
    pub(super) deleted: Vec<Place>,
}

/// Objects and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) objects: i64,
    pub(super) bytes: i64,
}

/// All that has changed of a cluster.
#[derive(Default)]
pub(super) struct Change {
    pub(super) head: Option<Head>,
    /// Whether the head cannot be read.
    pub(super) head_damaged: Option<(String, Meta)>,
    pub(super) found: Vec<Found>,
    pub(super) gone: Vec<(Place, Meta)>,
    pub(super) pins: Vec<FoundPin>,
    pub(super) pins_gone: Vec<(String, Meta)>,
    pub(super) rounds: Vec<RoundRow>,
    /// Rounds that cannot be read: the name of the object, and why.
    pub(super) rounds_damaged: Vec<(String, String)>,
    /// What was verified or proven: the names of receipts, and what they say or why they cannot be read.
    pub(super) receipts: Vec<FoundReceipt>,
    /// Receipts that are gone.
    pub(super) receipts_gone: Vec<String>,
    /// All chunks by the day on which they were stored; `None` where they were not listed.
    pub(super) chunks: Option<BTreeMap<i64, Amount>>,
    /// Whether all names were listed.
    pub(super) listed: bool,
}

impl Change {
    /// Whether more than the head has changed.
    pub(super) fn is_more_than_head(&self) -> bool {
        self.listed
            || !(self.found.is_empty()
                && self.gone.is_empty()
                && self.pins.is_empty()
                && self.rounds.is_empty())
    }
}
