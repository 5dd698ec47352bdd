//! Lease rows of the result.
//!
//! A row of etcd's `lease` bucket is the lease's id as a big-endian i64, and a `leasepb.Lease`: ID = 1, TTL = 2 in
//! seconds as granted, RemainingTTL = 3 (etcd, `server/lease/leasepb/lease.proto`). A lease that lives in no key is left out:
//! nothing would notice it, except that it expires.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use revkeep_schemas::FormatError;
use revkeep_schemas::kv::KeyValue;

/// The TTL of a lease that keys name and of which nothing else is known, in seconds.
pub const UNKNOWN_TTL_SECONDS: i64 = 3600;

/// Seconds that are left of a lease by [`LeaseRule::Expire`]; a server adds its election timeout.
const EXPIRING_SECONDS: i64 = 1;

/// What becomes of the leases of a whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseRule {
    /// They have the time again that they were granted
    #[default]
    Keep,
    /// Keys lose their lease, and stay until they are deleted
    #[value(alias = "drop")]
    Detach,
    /// They have a second left: what nobody keeps alive is deleted by the cluster once it has a leader
    Expire,
}

/// A row's value with its lease taken off; `None` for one that names none.
///
/// # Errors
/// [`FormatError::Corrupt`] when the value cannot be read.
pub fn detached(value: &[u8]) -> Result<Option<Vec<u8>>, FormatError> {
    let kv = KeyValue::decode(value)?;
    Ok((kv.lease != 0).then(|| KeyValue { lease: 0, ..kv }.encode()))
}

#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining_ttl: i64,
}

/// The rows of the lease bucket, and what was made up for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRows {
    /// Keys and values, in the order of the keys.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// The ids whose TTL is [`UNKNOWN_TTL_SECONDS`] because the vault does not know it.
    pub synthesised: Vec<i64>,
}

/// Reads the granted TTLs, in seconds, out of a base's lease bucket; rows that cannot be read are passed over.
pub fn granted<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> BTreeMap<i64, i64> {
    rows.filter_map(|(_, value)| Lease::decode(value).ok())
        .map(|lease| (lease.id, lease.ttl))
        .collect()
}

/// Makes the rows for the leases in use.
#[must_use]
pub fn lease_rows(
    used: &BTreeSet<i64>,
    granted: &BTreeMap<i64, i64>,
    rule: LeaseRule,
) -> LeaseRows {
    let mut result = LeaseRows::default();
    let remaining_ttl = match rule {
        LeaseRule::Keep => 0,
        LeaseRule::Detach => return result,
        LeaseRule::Expire => EXPIRING_SECONDS,
    };
    for id in used {
        let ttl = granted.get(id).copied().filter(|ttl| *ttl > 0);
        if ttl.is_none() {
            result.synthesised.push(*id);
        }
        let lease = Lease {
            id: *id,
            ttl: ttl.unwrap_or(UNKNOWN_TTL_SECONDS),
            remaining_ttl,
        };
        result
            .rows
            .push((id.to_be_bytes().to_vec(), lease.encode_to_vec()));
    }
    // Negative ids sort behind positive ones as bytes.
    result.rows.sort();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_leases_keep_their_ttl_and_unknown_ones_get_a_long_one() {
        let known = lease_rows(
            &BTreeSet::from([7]),
            &BTreeMap::from([(7, 60), (8, 5)]),
            LeaseRule::Keep,
        );
        assert_eq!(
            known.rows,
            [(7_i64.to_be_bytes().to_vec(), vec![8, 7, 16, 60])]
        );
        assert!(known.synthesised.is_empty());

        let unknown = lease_rows(&BTreeSet::from([-1, 9]), &BTreeMap::new(), LeaseRule::Keep);
        assert_eq!(unknown.synthesised, [-1, 9]);
        assert!(unknown.rows.is_sorted());
        let rows = unknown
            .rows
            .iter()
            .map(|(key, value)| (&key[..], &value[..]));
        assert_eq!(
            granted(rows),
            BTreeMap::from([(-1, UNKNOWN_TTL_SECONDS), (9, UNKNOWN_TTL_SECONDS)])
        );
    }

    #[test]
    fn leases_that_expire_keep_what_they_were_granted_and_detached_ones_are_gone() {
        let used = BTreeSet::from([7]);
        let known = BTreeMap::from([(7, 60)]);
        let rows = lease_rows(&used, &known, LeaseRule::Expire).rows;
        assert_eq!(
            rows,
            [(7_i64.to_be_bytes().to_vec(), vec![8, 7, 16, 60, 24, 1])]
        );
        assert_eq!(
            lease_rows(&used, &known, LeaseRule::Detach),
            LeaseRows::default()
        );

        let kv = KeyValue {
            key: b"k",
            create_revision: 3,
            mod_revision: 4,
            version: 2,
            value: b"v",
            lease: 7,
        };
        let without = KeyValue { lease: 0, ..kv }.encode();
        assert_eq!(detached(&kv.encode()).unwrap(), Some(without.clone()));
        assert_eq!(detached(&without).unwrap(), None);
        assert_eq!(detached(&KeyValue::encode_tombstone(b"k")).unwrap(), None);
        assert!(detached(&[0xff]).is_err());
    }
}
