//! A cluster in a simulated world: time, network, disks and kills come from one seed, so a run can be repeated.
//!
//! A [`Software`] is what runs on each host; [`run`] gives it disks, addresses and faults, and [`History`] judges what
//! clients saw. A failing run prints its seed.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test file uses its part of the harness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]
#![allow(
    unreachable_pub,
    reason = "a harness shared by several test programs, each a crate of its own"
)]

mod cluster;
mod faults;
mod history;
mod journal;
mod net;
mod stage;
mod workload;
mod world;

pub use cluster::{Options, Software, log, run};
pub use faults::{FaultMix, Faults};
pub use history::{History, Kind};
pub use journal::{Journal, JournalStore};
pub use net::{SimDial, serve_peers};
pub use stage::Stage;
pub use workload::JournalMember;
pub use world::{Seat, World};
