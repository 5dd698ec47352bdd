//! Sealed segments that wait for the object store.
//!
//! A segment that can go up at once is never written to the disk: where the store is well, nothing of this lies on the
//! way, and no fsync is waited for. As soon as one has waited for a second, its first attempt failed, or what waits is
//! more than a few MiB, everything that waits is filed: the very bytes of the object, in a bounded folder, oldest first,
//! each file whole before the next one is begun. From then on until all is uploaded, what is sealed is filed at once.
//!
//! Why that is safe for a kill at any instant: nothing is called durable before the store acknowledged it, so a segment
//! that is lost with the process is captured again by the next start, which goes on after the last revision that is
//! in the vault or, without a hole, in the folder. The folder matters when the source compacts meanwhile, and a source
//! that compacts within that second takes what no agent could have kept. Files are written in order, so what is lost with
//! the process is always the end of what waited, never its middle. A file that was uploaded and not yet removed is uploaded
//! again, which changes nothing: same name, same bytes.
//!
//! Several segments go up at once, so the store may have one and not yet the one before it. Nothing is durable past
//! what is missing ([`Front`](crate::head::Front)). Where the process ends just then, what is missing in the vault may lie in the
//! folder: the next start goes on after what both reach together. Where it lies in neither, the next start goes on before it,
//! captures it again with what follows, in the same words, and compares the source with what is stored or filed beyond
//! ([`crate::lineage`]), in case it was set back meanwhile.
//!
//! Past the bound, or when the disk takes no more, segments are discarded from then on: a hole. The watch goes on. When
//! uploads go on and there is room, capture takes a base, which heals the hole but for what the source has compacted; that
//! is recorded as the gap.

mod folder;
mod owner;
mod reach;
mod segments;
#[cfg(test)]
mod testing;
mod waiting;

pub use folder::{Folder, Found, Place};
pub use owner::Owner;
pub use reach::{Name, Range, reach, without};
pub use segments::{Load, Next, Spool};
pub use waiting::{Hole, Refused, Source, Ticket, Waiting};
