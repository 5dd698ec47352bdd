//! What a plan is made from: what the vault holds of one cluster, with the times of the object store.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use revkeep_schemas::Revision;
use revkeep_schemas::names::TimelineId;

use crate::layout::ChunkName;

/// What the vault holds of one cluster. Every time in it is the object store's, never a writer's.
#[derive(Clone, Debug)]
pub struct History {
    /// The object store's time now.
    pub now: DateTime<Utc>,
    /// Its timelines, ascending.
    pub timelines: Vec<TimelineHistory>,
    /// What people hold.
    pub pins: Vec<Pinned>,
}

/// What the vault holds of one timeline.
#[derive(Clone, Debug)]
pub struct TimelineHistory {
    /// Its number.
    pub id: TimelineId,
    /// The bases whose manifests are sound.
    pub bases: Vec<StoredBase>,
    /// All segments.
    pub segments: Vec<StoredSegment>,
}

/// A base.
#[derive(Clone, Debug)]
pub struct StoredBase {
    /// The object, below the vault's prefix.
    pub name: String,
    /// When the store took its manifest.
    pub stored: DateTime<Utc>,
    /// Its revision.
    pub revision: Revision,
    /// The source's compact revision in it: it covers what lies between both.
    pub compact_revision: Revision,
    /// Bytes of the manifest.
    pub bytes: u64,
    /// Its chunks and their bytes; other bases may share them.
    pub chunks: Arc<[(ChunkName, u64)]>,
}

/// A segment.
#[derive(Clone, Debug)]
pub struct StoredSegment {
    /// The object, below the vault's prefix.
    pub name: String,
    /// When the store took it.
    pub stored: DateTime<Utc>,
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// Bytes of the object.
    pub bytes: u64,
}

/// A revision that somebody holds.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The name that it was given.
    pub name: String,
    /// Its timeline.
    pub timeline: TimelineId,
    /// The revision.
    pub revision: Revision,
    /// When it is let go.
    pub expires: Option<DateTime<Utc>>,
}
