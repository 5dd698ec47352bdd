//! From a batch to a sealed segment. Compresses, so it runs on a blocking thread.

use revkeep_schemas::segment::{SealedSegment, SegmentWriter};
use revkeep_schemas::{FormatError, Row, RowBuf};

use super::SegmentFacts;
use crate::capture::batch::Batch;

/// Live segments are small and merged later: speed counts.
pub(super) const ZSTD_LEVEL: i32 = 3;

/// Seals the batch with its facts; what is packed is let go of at once.
pub(super) fn seal(
    mut writer: SegmentWriter,
    batch: Batch,
    facts: SegmentFacts,
) -> Result<SealedSegment, FormatError> {
    for stamped in batch.transactions {
        let rows: Vec<Row<'_>> = stamped
            .transaction
            .rows
            .iter()
            .map(RowBuf::as_row)
            .collect();
        writer.push_revision(&rows, stamped.unix_ms)?;
    }
    for lease in facts.leases {
        writer.lease(lease);
    }
    if let Some(mark) = facts.compaction {
        writer.compaction(mark);
    }
    writer.finish()
}
