//! Segments: all rows of a closed range of revisions, with the times and facts that belong to them.
//!
//! `envelope ‖ zstd frames ‖ index ‖ footer`; `formats/segment.md` has the tables. The footer's SHA-256 covers envelope,
//! index and footer, and the index has the SHA-256 of every frame, so a part that was fetched by a range request is
//! verified alone. Revisions are never split over frames, so that a frame is read by itself too.

mod footer;
mod index;
mod reader;
mod writer;

pub use footer::{FOOTER_LEN, SegmentFooter};
pub use index::{CompactionMark, Frame, LeaseFact, MAX_INDEX_LEN, SegmentIndex, TimeMark};
pub use reader::{MAX_FRAME_PLAIN_BYTES, SegmentReader};
pub use writer::{SealedSegment, SegmentOrigin, SegmentWriter};

#[cfg(test)]
mod tests;
