//! Granted TTLs of leases. Rows name leases by their ids alone and the watch tells nothing else of them, so each is asked
//! for when its id is first seen, while it still lives, and kept until the segment with that row is sealed.

mod book;
mod keeper;

pub use book::LeaseBook;
pub use keeper::Leases;
