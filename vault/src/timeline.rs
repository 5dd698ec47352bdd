//! A timeline: what the agent appends to, and what a restore reads.

use std::time::Duration;

use bytes::Bytes;
use revkeep_schemas::Revision;
use revkeep_schemas::envelope::{self, Identity};
use revkeep_schemas::manifest::{BaseManifest, GapRecord, TimelineRecord};
use revkeep_schemas::names::{TimelineId, Uid};
use revkeep_schemas::segment::{SealedSegment, SegmentOrigin, SegmentReader, SegmentWriter};

use crate::buffers::Buffers;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::SegmentEntry;
use crate::layout::{NameKind, ObjectName};
use crate::objects::Stored;
use crate::writing;

/// One unbroken history of a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub(crate) cluster: Cluster,
    pub(crate) id: TimelineId,
    pub(crate) record: TimelineRecord,
}

impl Timeline {
    /// Its number.
    pub fn id(&self) -> TimelineId {
        self.id
    }

    /// Its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What was written when it was opened: source, parent, fork revision.
    pub fn record(&self) -> &TimelineRecord {
        &self.record
    }

    pub(crate) fn name(&self, kind: NameKind) -> ObjectName {
        ObjectName {
            cluster: self.cluster.name.clone(),
            timeline: self.id,
            kind,
        }
    }

    pub(crate) fn identity(&self, name: &ObjectName) -> Identity {
        name.identity(self.cluster.vault.id)
    }

    /// An empty segment of this timeline with a new unique suffix: level 0, zstd level 1 to 3.
    pub fn segment_writer(&self, level: u8, zstd_level: i32) -> SegmentWriter {
        let origin = SegmentOrigin {
            vault: self.cluster.vault.id,
            cluster: self.cluster.name.clone(),
            timeline: self.id,
            level,
            uid: Uid(rand::random()),
            writer: self.cluster.vault.writer.to_string(),
        };
        SegmentWriter::new(origin, zstd_level)
    }

    /// Puts a segment. Once this returns, its revisions are durable. Safe to call again after any error.
    ///
    /// # Errors
    /// `Refused` for a segment of another timeline, `Retry` when the store failed.
    pub async fn put_segment(&self, segment: &SealedSegment) -> Result<Stored, VaultError> {
        self.put_segment_within(segment, Duration::MAX).await
    }

    /// [`Timeline::put_segment`] with a deadline. A put that has not been answered by then is settled by reading back,
    /// for which the store gets the same time again: whatever stands there then counts, and nothing else.
    ///
    /// # Errors
    /// As [`Timeline::put_segment`]; `Retry` when the segment was not seen in the store in time.
    pub async fn put_segment_within(
        &self,
        segment: &SealedSegment,
        deadline: Duration,
    ) -> Result<Stored, VaultError> {
        let name = self.name(NameKind::Segment {
            level: segment.identity.level,
            first: segment.first,
            last: segment.last,
            uid: segment.uid,
        });
        if self.identity(&name) != segment.identity {
            return Err(VaultError::new(
                ErrorKind::Refused,
                format!(
                    "put {}: the segment was sealed for another vault, cluster or timeline",
                    name.path()
                ),
            ));
        }
        self.cluster
            .vault
            .objects
            .put_unique_within(&name.path(), segment.bytes.clone(), deadline)
            .await
    }

    /// Records that `[first, last]` was lost. Nothing is recorded twice with the same range and reason by one caller
    /// unless it asks twice; readers take the union.
    ///
    /// # Errors
    /// `Internal` for what is no range, `Retry` when the store failed.
    pub async fn put_gap(
        &self,
        first: Revision,
        last: Revision,
        reason: &str,
    ) -> Result<Stored, VaultError> {
        self.record_gap(first, last, reason, false).await
    }

    /// Records that what segments hold of `[first, last]` is not what the source had: from then on no segment that holds any
    /// of it counts.
    ///
    /// # Errors
    /// As [`Timeline::put_gap`].
    pub async fn put_distrust(
        &self,
        first: Revision,
        last: Revision,
        reason: &str,
    ) -> Result<Stored, VaultError> {
        self.record_gap(first, last, reason, true).await
    }

    async fn record_gap(
        &self,
        first: Revision,
        last: Revision,
        reason: &str,
        distrusted: bool,
    ) -> Result<Stored, VaultError> {
        if first < Revision::INITIAL || last < first {
            return Err(VaultError::new(
                ErrorKind::Internal,
                format!("record a gap: [{first}, {last}] is no range"),
            ));
        }
        let record = GapRecord {
            first,
            last,
            reason: reason.to_owned(),
            distrusted,
        };
        let name = self.name(NameKind::Gap {
            first,
            last,
            uid: Uid(rand::random()),
        });
        let vault = &self.cluster.vault;
        let object = envelope::seal(&self.identity(&name), &vault.writer, &record.encode());
        vault.objects.put_unique(&name.path(), object).await
    }

    /// Reads one recorded gap.
    pub(crate) async fn gap(&self, name: &ObjectName) -> Result<GapRecord, VaultError> {
        let identity = self.identity(name);
        let decode = |object: Bytes| {
            envelope::open(&object, &identity)
                .and_then(|body| GapRecord::decode(&body))
                .map_err(VaultError::format(name.path()))
        };
        let objects = &self.cluster.vault.objects;
        objects.get_as(&name.path(), decode).await
    }

    /// Reads the manifest of one base.
    pub(crate) async fn base(&self, name: &ObjectName) -> Result<BaseManifest, VaultError> {
        let identity = self.identity(name);
        let void = writing::void(self.cluster.vault.id, name);
        let decode = |object: Bytes| {
            if envelope::open(&object, &void).is_ok() {
                return Err(VaultError::new(
                    ErrorKind::NotFound,
                    format!(
                        "{}: this base was given up while it was written",
                        name.path()
                    ),
                ));
            }
            envelope::open(&object, &identity)
                .and_then(|body| BaseManifest::decode(&body))
                .map_err(VaultError::format(name.path()))
        };
        let objects = &self.cluster.vault.objects;
        let manifest = objects.get_as(&name.path(), decode).await?;
        match name.kind {
            NameKind::Base { revision, .. } if revision == manifest.facts.revision => Ok(manifest),
            _ => Err(VaultError::new(
                ErrorKind::Corrupt,
                format!(
                    "{}: its manifest is of revision {}",
                    name.path(),
                    manifest.facts.revision
                ),
            )),
        }
    }

    pub(crate) fn segment_name(&self, entry: &SegmentEntry) -> ObjectName {
        self.name(NameKind::Segment {
            level: entry.level,
            first: entry.first,
            last: entry.last,
            uid: entry.uid,
        })
    }

    /// Fetches a whole segment; its index is verified, its frames are as they are read.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged, `NotFound` when it is gone.
    pub async fn segment(&self, entry: &SegmentEntry) -> Result<SegmentReader, VaultError> {
        self.segment_in(entry, &Buffers::default()).await
    }

    /// [`Timeline::segment`], in one of these buffers.
    pub(crate) async fn segment_in(
        &self,
        entry: &SegmentEntry,
        buffers: &Buffers,
    ) -> Result<SegmentReader, VaultError> {
        let name = self.segment_name(entry);
        let objects = &self.cluster.vault.objects;
        let object = objects.get_in(&name.path(), buffers).await?;
        SegmentReader::open(object, &self.identity(&name)).map_err(VaultError::format(name.path()))
    }
}
