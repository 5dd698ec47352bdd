//! The promise: of several agents one uploads, the others take over within seconds, nothing is lost, and whoever comes back
//! does no harm.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that looks beyond the end fails, as it should"
)]

mod cut_off;
mod ended;
mod first;
mod prefers;
#[path = "../rows/mod.rs"]
mod rows;
mod world;
