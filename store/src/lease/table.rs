//! What the time-keeper knows of the leases.

use bytes::Bytes;

use super::Lease;
use crate::mvcc::Mvcc;

/// The leases of the store, the part that is the same on every member.
pub trait LeaseTable: Send + Sync + 'static {
    /// One lease.
    fn get(&self, id: i64) -> Option<Lease>;

    /// All of them.
    fn all(&self) -> Vec<Lease>;

    /// The keys that hang on a lease, sorted; none for a lease that is gone.
    fn keys(&self, id: i64) -> Vec<Bytes>;
}

impl LeaseTable for Mvcc {
    fn get(&self, id: i64) -> Option<Lease> {
        self.leases().get(id)
    }

    fn all(&self) -> Vec<Lease> {
        self.leases().list()
    }

    fn keys(&self, id: i64) -> Vec<Bytes> {
        self.leases().keys(id).unwrap_or_default()
    }
}
