//! How much is done and held at once.

/// Segments and chunks whose index or filter is read at once.
pub(super) const PARALLEL_INDEXES: usize = 12;
/// Pieces of rows that are fetched and unpacked at once: each at most [`RUN_FRAMES`] frames, or one chunk.
pub(super) const PARALLEL_PIECES: usize = 4;
/// Frames of a segment that are fetched in one request, of about a MiB each.
pub(super) const RUN_FRAMES: usize = 4;
/// Up to so many keys are looked for in filters one by one; for more, everything is read.
pub(super) const MOST_KEYS_ASKED: usize = 4096;
/// Values that are held at once, in bytes. What asks for more has to ask for less, or for keys alone.
pub const MAX_HELD_BYTES: u64 = 512 * 1024 * 1024;
