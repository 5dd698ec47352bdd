//! Reads the past in place: keys at a revision, the history of a key, the difference of two revisions.
//!
//! Comes in: a timeline and what is wanted of it. Goes out: versions of keys, exactly as a restore would bring them back.
//! Promises: reads only the frames and chunks that may hold what is wanted, newest first where the newest is enough; what
//! is damaged is told or gone around, never passed over. Never: writes to the vault, a server, memory for more
//! than what is asked for.
//! Read next: [`View`] for one revision, [`History`] for all of them, [`Difference`] for two.

mod difference;
mod history;
mod limits;
mod open;
mod outstanding;
mod part;
mod read;
mod retry;
mod selection;
mod text;
mod version;
mod view;

pub use difference::{Change, Difference, Side};
pub use history::{History, Told};
pub use limits::MAX_HELD_BYTES;
pub use open::open;
pub use retry::going_around;
pub use selection::Selection;
pub use text::printable;
pub use version::Version;
pub use view::{Found, View};
