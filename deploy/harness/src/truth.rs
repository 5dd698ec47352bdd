//! What a server itself says of a revision, to compare a restored one with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions, SortOrder, SortTarget};

/// A key as a server answers it at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// The number of changes since it was created.
    pub version: i64,
    /// The lease that it is attached to, or 0.
    pub lease: i64,
}

/// Everything that a server says of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The revision.
    pub revision: i64,
    /// The compact revision under which `hash` was computed; -1 as etcd reports "never compacted".
    pub compact_revision: i64,
    /// `HashKV(revision)`.
    pub hash: u32,
    /// Every key that lives at the revision, in key order.
    pub keys: Vec<KeyState>,
    /// The leases that those keys are attached to and that exist, with their granted TTL in seconds.
    pub leases: BTreeMap<i64, i64>,
}

/// The granted TTL in seconds of every lease that `keys` are attached to, without those that do not exist (any more).
///
/// # Errors
/// When the server does not answer.
pub async fn leases_of(etcd: &mut Client, keys: &[KeyState]) -> Result<BTreeMap<i64, i64>> {
    let ids: BTreeSet<i64> = keys
        .iter()
        .map(|key| key.lease)
        .filter(|id| *id != 0)
        .collect();
    let mut leases = BTreeMap::new();
    for id in ids {
        let answer = etcd.lease_time_to_live(id, None).await?;
        if answer.ttl() >= 0 {
            leases.insert(id, answer.granted_ttl());
        }
    }
    Ok(leases)
}

/// The server's current revision.
///
/// # Errors
/// When the server does not answer.
pub async fn revision(etcd: &mut Client) -> Result<i64> {
    let answer = etcd
        .get("\0", Some(GetOptions::new().with_count_only()))
        .await?;
    Ok(answer
        .header()
        .context("a response without header")?
        .revision())
}

/// Every key that lives at `revision` (0: now), in key order, read in pages that fit in a message.
///
/// # Errors
/// When the server does not answer or has compacted the revision.
pub async fn keys_at(etcd: &mut Client, revision: i64) -> Result<Vec<KeyState>> {
    let mut keys: Vec<KeyState> = Vec::new();
    let mut from = vec![0];
    loop {
        let options = GetOptions::new()
            .with_from_key()
            .with_revision(revision)
            .with_limit(20)
            .with_sort(SortTarget::Key, SortOrder::Ascend);
        let mut client = etcd.kv_client().max_decoding_message_size(usize::MAX);
        let mut answer = client.get(from.clone(), Some(options)).await?;
        let more = answer.more();
        keys.extend(answer.take_kvs().into_iter().map(|kv| KeyState {
            create_revision: kv.create_revision(),
            mod_revision: kv.mod_revision(),
            version: kv.version(),
            lease: kv.lease(),
            key: kv.key().to_vec(),
            value: kv.value().to_vec(),
        }));
        if !more {
            return Ok(keys);
        }
        from = keys
            .last()
            .map(|last| [&last.key[..], &[0]].concat())
            .context("an empty page")?;
    }
}

impl Truth {
    /// Asks a server for its state at `revision`.
    ///
    /// # Errors
    /// When the server does not answer, has compacted the revision, or compacts it meanwhile.
    pub async fn at(etcd: &mut Client, revision: i64) -> Result<Self> {
        let hash = etcd.hash_kv(revision).await.context("HashKV")?;
        let keys = keys_at(etcd, revision).await?;
        let leases = leases_of(etcd, &keys).await?;
        let again = etcd.hash_kv(revision).await.context("HashKV")?;
        ensure!(
            hash.compact_version() == again.compact_version(),
            "compacted meanwhile"
        );
        let (compact_revision, hash) = (hash.compact_version(), hash.hash());
        Ok(Self {
            revision,
            compact_revision,
            hash,
            keys,
            leases,
        })
    }

    /// The current state of a server that nobody writes to; a lease that expires meanwhile is waited for.
    ///
    /// # Errors
    /// When the server does not answer or is never at rest.
    pub async fn now(etcd: &mut Client) -> Result<Self> {
        for _ in 0..20 {
            let before = revision(etcd).await?;
            let truth = Self::at(etcd, before).await;
            if revision(etcd).await? == before {
                return truth;
            }
        }
        anyhow::bail!("the server is written to all the time")
    }
}
