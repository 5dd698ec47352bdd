//! Which of several agents uploads.
//!
//! An agent runs beside each member. All of them watch, all seal the same history, and one uploads; the others hold what
//! they sealed until the vault has it. Nothing but requests depends on it: the vault is a set of facts in which ranges may
//! overlap, so two uploaders, or none for a while, lose nothing. There is no lock, and no key is written to etcd.
//!
//! **The head says whose turn it is.** It holds the uploader's id, a number that grows with every change of hands, and how far
//! the vault reaches. Followers read it with a GET: every second while they hold something, every fifteen seconds else. What it
//! covers they drop; the rest stays in their spool, within its bound. An uploader writes it every 75 seconds when nothing
//! happens, which is 48 requests an hour, and nobody lists anything. As soon as somebody follows, which a follower writes into
//! the head when it comes and every twenty minutes, the uploader writes it after its segments too, at most once a second.
//! A lone agent pays for none of this but one GET at the start, and one every ten seconds while it uploads or before it writes.
//!
//! **Work decides who is dead, not clocks.** Agents see a change at the same moment, and seal it within the same flush interval.
//! So a follower that has sealed a segment waits five seconds for the vault to reach its first revision, and the flush interval
//! longer for its last. If it does not, whoever should have uploaded it is gone, stopped or cut off from the store, whatever it
//! may believe: the follower takes the turn, by a conditional put over the head that it has read, so that of several one
//! succeeds, and uploads what it holds. An idle cluster needs no uploader; there a head that stays the same for four minutes is
//! enough. An uploader that ends in order says so, and the next one follows at once.
//!
//! **Wrong elections cost requests.** Where a store knows no conditional put, or is too slow, several agents may take the turn.
//! So whoever has taken it reads the head again after a second and every ten seconds for two minutes, and before it writes. The larger number is right, and of equal ones the smaller id; the others follow when they next read the head. An uploader
//! that was paused and wakes up uploads what is there already, in the same words, reads the head and follows. A head that says
//! too much could cost data, since followers drop what it covers; so whoever takes over lists the vault once and captures
//! again from etcd what is not there.

mod decide;
mod id;
mod task;
mod turns;

pub use decide::{Action, Holding, Turn, UploadPolicy};
pub(crate) use id::agent_id;
pub use task::TurnTask;
pub use turns::{Leave, Turns};
