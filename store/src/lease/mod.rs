//! Leases: what all members know of them alike.

mod state;

pub use state::{Lease, LeaseState, MAX_TTL_S};
