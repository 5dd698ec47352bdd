//! Telling clients what changed.
//!
//! Comes in: the events of every applied entry, and requests to watch ranges of keys from some revision. Goes out: for
//! each watcher every event of its range from its start on, whole revisions in order, exactly once, or a cancellation that
//! names the compact revision. Promises: publishing never waits for a client; a watcher costs a bounded amount of memory
//! however slow its client is, because one that falls behind keeps a revision instead of events and reads them from the
//! history when its client has caught up. Never: an event before the write is applied, a gap, a duplicate.
//! Read next: [`WatchHub`], then `catch_up` for the slow.

mod catch_up;
mod events;
mod history;
mod hub;
mod index;
mod outbox;
mod range;
mod receiver;
mod spec;
mod state;
mod stream;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use history::History;
pub use hub::{WatchHub, WatchOptions, WatchStats};
pub use range::KeyRange;
pub use receiver::WatchReceiver;
pub use spec::WatchSpec;
pub use stream::WatchStream;
