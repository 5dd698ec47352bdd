//! The leases, and the keys that hang on them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::RwLock;
use prost::Message as _;
use revkeep_schemas::etcd_api::leasepb;

use crate::{
    backend::{Backend, Bucket},
    error::{Result, StoreError},
};

/// The longest TTL, in seconds (etcd, `server/lease/lessor.go`).
pub const MAX_TTL_S: i64 = 9_000_000_000;

/// A lease, as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id; never 0.
    pub id: i64,
    /// What was granted, in seconds.
    pub ttl_s: i64,
    /// What was left at the last checkpoint, in seconds; 0 when none was made since it was last renewed.
    pub remaining_ttl_s: i64,
}

/// The part of leases that follows from the log alone, so that it is the same on every member. When a lease expires is
/// the leader's business, not this one's.
///
/// Leases are rows of the bucket `lease`; which keys hang on them follows from the keys' own rows (etcd,
/// `server/lease/lessor.go`).
#[derive(Debug)]
pub struct LeaseState {
    backend: Arc<Backend>,
    min_ttl_s: i64,
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    leases: HashMap<i64, (Lease, BTreeSet<Bytes>)>,
    keys: HashMap<Bytes, i64>,
}

impl Held {
    fn detach(&mut self, key: &Bytes) {
        let Some(lease) = self.keys.remove(key) else {
            return;
        };
        if let Some((_, keys)) = self.leases.get_mut(&lease) {
            keys.remove(key);
        }
    }

    fn attach(&mut self, lease: i64, key: Bytes) {
        // A lease that is gone leaves its keys for ever, and without one.
        if let Some((_, keys)) = self.leases.get_mut(&lease) {
            keys.insert(key.clone());
            self.keys.insert(key, lease);
        }
    }
}

impl LeaseState {
    /// Reads the leases; their keys are attached afterwards.
    pub(crate) fn load(backend: &Arc<Backend>, min_ttl_s: i64) -> Result<Self> {
        let mut held = Held::default();
        for (key, value) in backend.entries(Bucket::Lease)? {
            let stored = leasepb::Lease::decode(value).map_err(|error| {
                StoreError::damaged(format!("lease entry {key:?}"), error.to_string())
            })?;
            let lease = Lease {
                id: stored.id,
                ttl_s: stored.ttl.max(min_ttl_s),
                remaining_ttl_s: stored.remaining_ttl,
            };
            held.leases.insert(lease.id, (lease, BTreeSet::new()));
        }
        Ok(Self {
            backend: Arc::clone(backend),
            min_ttl_s,
            held: RwLock::new(held),
        })
    }

    /// Takes the place of all that it held.
    pub(crate) fn replace(&self, other: Self) {
        *self.held.write() = other.held.into_inner();
    }

    /// Grants a lease under an id that the caller has chosen.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`] for id 0, as etcd says it, [`StoreError::LeaseExists`],
    /// [`StoreError::LeaseTtlTooLarge`].
    pub fn grant(&self, id: i64, ttl_s: i64) -> Result<Lease> {
        if id == 0 {
            return Err(StoreError::LeaseNotFound);
        }
        if ttl_s > MAX_TTL_S {
            return Err(StoreError::LeaseTtlTooLarge);
        }
        let mut held = self.held.write();
        if held.leases.contains_key(&id) {
            return Err(StoreError::LeaseExists);
        }
        let lease = Lease {
            id,
            ttl_s: ttl_s.max(self.min_ttl_s),
            remaining_ttl_s: 0,
        };
        held.leases.insert(id, (lease, BTreeSet::new()));
        self.persist(lease);
        Ok(lease)
    }

    /// Notes what is left of a lease, so that the next leader need not grant all of it again; 0 after a renewal. A lease
    /// that is gone is passed over.
    pub fn checkpoint(&self, id: i64, remaining_ttl_s: i64) {
        let mut held = self.held.write();
        if let Some((lease, _)) = held.leases.get_mut(&id) {
            lease.remaining_ttl_s = remaining_ttl_s;
            self.persist(*lease);
        }
    }

    fn persist(&self, lease: Lease) {
        let stored = leasepb::Lease {
            id: lease.id,
            ttl: lease.ttl_s,
            remaining_ttl: lease.remaining_ttl_s,
        };
        let value = stored.encode_to_vec().into();
        self.backend.put(Bucket::Lease, entry_key(lease.id), value);
    }

    /// Whether there is such a lease.
    pub fn contains(&self, id: i64) -> bool {
        self.held.read().leases.contains_key(&id)
    }

    /// The lease of that id.
    pub fn get(&self, id: i64) -> Option<Lease> {
        self.held.read().leases.get(&id).map(|(lease, _)| *lease)
    }

    /// All leases, by id.
    pub fn list(&self) -> Vec<Lease> {
        let mut leases: Vec<_> = {
            let held = self.held.read();
            held.leases.values().map(|(lease, _)| *lease).collect()
        };
        leases.sort_unstable_by_key(|lease| lease.id);
        leases
    }

    /// The keys that hang on a lease, ascending.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`].
    pub fn keys(&self, id: i64) -> Result<Vec<Bytes>> {
        let held = self.held.read();
        let (_, keys) = held.leases.get(&id).ok_or(StoreError::LeaseNotFound)?;
        Ok(keys.iter().cloned().collect())
    }

    /// The lease that a key hangs on.
    pub fn lease_of(&self, key: &Bytes) -> Option<i64> {
        self.held.read().keys.get(key).copied()
    }

    /// Removes a lease whose keys are gone.
    pub(crate) fn forget(&self, id: i64) {
        let mut held = self.held.write();
        if let Some((_, keys)) = held.leases.remove(&id) {
            for key in keys {
                held.keys.remove(&key);
            }
            self.backend.delete(Bucket::Lease, entry_key(id));
        }
    }

    /// Hangs a key on a lease, which it takes from no other.
    pub(crate) fn attach(&self, lease: i64, key: &Bytes) {
        self.held.write().attach(lease, own(key));
    }

    /// Follows the changes of a transaction: each key hangs on the lease that its newest row names, 0 for none.
    pub(crate) fn follow<'a>(&self, changes: impl Iterator<Item = (&'a Bytes, i64)>) {
        let mut held = self.held.write();
        for (key, lease) in changes {
            if !held.keys.is_empty() {
                held.detach(key);
            }
            if lease != 0 {
                held.attach(lease, own(key));
            }
        }
    }
}

/// A copy of its own: a key that is kept must not keep the row that it is a part of.
fn own(key: &Bytes) -> Bytes {
    Bytes::copy_from_slice(key)
}

fn entry_key(id: i64) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}
