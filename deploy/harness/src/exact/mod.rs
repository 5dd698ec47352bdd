//! Exactness: a source driven and captured, its revisions restored, booted, and asked what the source was asked.
//!
//! In: a source and targets, each a release of etcd or the store. Out: an error that names the first answer that differs.
//! Promise: every answer is a server's own, over the wire; nothing here reads what was restored from the disk.
//! Next: [`Captured::from`], then the `check_` methods.

mod capture;
mod check;
mod compare;
mod restored;

pub use capture::Captured;

/// Revisions compared for each source: `REVKEEP_POINTS`, or `usually`.
pub fn points(usually: usize) -> usize {
    std::env::var("REVKEEP_POINTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usually)
}

/// The seed of this run: `REVKEEP_SEED`, or a random one; printed, so that a run can be repeated.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let seed = std::env::var("REVKEEP_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    eprintln!("REVKEEP_SEED={seed}");
    seed
}
