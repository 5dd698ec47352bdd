//! Which leases keys are attached to.

use std::collections::{BTreeSet, HashMap};

use revkeep_schemas::kv::{KeyValue, key_of};
use revkeep_schemas::{FormatError, Row};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The keys that are attached to a lease after the rows so far.
///
/// A key is known by its XXH3-128 under a random seed, as in [`revkeep_schemas::compaction::LiveIndex`]. Memory is some
/// 60 bytes for each key that is attached to a lease at a time; other keys cost none.
#[derive(Clone, Debug)]
pub struct LeaseHolders {
    seed: u64,
    leases: HashMap<u128, i64>,
}

impl LeaseHolders {
    /// No rows yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            leases: HashMap::new(),
        }
    }

    /// Takes the next row, in ascending order.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when the row's value cannot be read.
    pub fn observe(&mut self, row: &Row<'_>) -> Result<(), FormatError> {
        let (key, lease) = if row.key.tombstone {
            (key_of(row.value)?, 0)
        } else {
            let kv = KeyValue::decode(row.value)?;
            (kv.key, kv.lease)
        };
        if lease != 0 {
            self.leases.insert(self.hash(key), lease);
        } else if !self.leases.is_empty() {
            self.leases.remove(&self.hash(key));
        }
        Ok(())
    }

    /// The leases that keys are attached to now.
    #[must_use]
    pub fn leases(&self) -> BTreeSet<i64> {
        self.leases.values().copied().collect()
    }

    fn hash(&self, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revkeep_schemas::{Revision, RowKey};

    #[test]
    fn the_newest_row_of_a_key_decides() {
        let mut holders = LeaseHolders::new(1);
        let history: [(&[u8], Option<i64>); 8] = [
            (b"kept", Some(7)),
            (b"moved", Some(7)),
            (b"moved", Some(8)),
            (b"detached", Some(9)),
            (b"detached", Some(0)),
            (b"deleted", Some(10)),
            (b"deleted", None),
            (b"never", Some(0)),
        ];
        for (revision, (key, lease)) in (2..).zip(history) {
            let value = lease.map_or_else(
                || KeyValue::encode_tombstone(key),
                |lease| {
                    KeyValue {
                        key,
                        lease,
                        ..KeyValue::default()
                    }
                    .encode()
                },
            );
            let key = RowKey {
                main: Revision(revision),
                sub: 0,
                tombstone: lease.is_none(),
            };
            holders.observe(&Row { key, value: &value }).unwrap();
        }
        assert_eq!(holders.leases(), BTreeSet::from([7, 8]));
        assert_eq!(holders.leases.len(), 2);
    }
}
