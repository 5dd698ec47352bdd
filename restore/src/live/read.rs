//! What a live cluster has now.

use std::collections::BTreeMap;

use bytes::Bytes;
use etcd_client::GetOptions;

use super::Live;
use crate::error::{Kind, RestoreError};
use crate::past::{MAX_HELD_BYTES, printable};
use crate::report::size;

/// Keys of one page.
const PAGE_KEYS: i64 = 512;
/// How often it is begun again when the revision that is read is compacted meanwhile.
const RESTARTS: usize = 3;

/// A key of the live cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveKey {
    /// The revision that wrote it.
    pub mod_revision: i64,
    /// Its value.
    pub value: Bytes,
    /// Its lease, or zero.
    pub lease: i64,
}

/// The keys under a prefix, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveKeys {
    /// The id of the cluster that answered.
    pub cluster_id: u64,
    /// The revision.
    pub revision: i64,
    /// The keys.
    pub keys: BTreeMap<Vec<u8>, LiveKey>,
}

/// The id of the cluster. Asks for a key under the prefix, which is what its user may read.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn identity(live: &Live, prefix: &[u8]) -> Result<u64, RestoreError> {
    let mut kv = live.kv.clone();
    let options = GetOptions::new().with_keys_only();
    let asking = kv.get(first_of(prefix), Some(options));
    let answer = live.within("ask which cluster it is", asking).await?;
    Ok(answer
        .header()
        .map_or(0, etcd_client::ResponseHeader::cluster_id))
}

/// Reads the keys under a prefix, a page at a time, all at the revision of the first page.
///
/// # Errors
/// When the cluster cannot be reached or refuses; when it compacts faster than it can be read; when keys and values have more
/// than [`MAX_HELD_BYTES`].
pub async fn read(live: &Live, prefix: &[u8]) -> Result<LiveKeys, RestoreError> {
    read_at_most(live, prefix, MAX_HELD_BYTES).await
}

/// [`read`] with another limit of bytes.
///
/// # Errors
/// As [`read`].
pub async fn read_at_most(
    live: &Live,
    prefix: &[u8],
    max_bytes: u64,
) -> Result<LiveKeys, RestoreError> {
    for _ in 0..RESTARTS {
        if let Some(keys) = read_once(live, prefix, max_bytes).await? {
            return Ok(keys);
        }
    }
    Err(RestoreError::new(
        Kind::Failed,
        "the live cluster compacts faster than its keys can be read: try a longer --prefix",
    ))
}

/// The first key that can begin with a prefix: etcd's smallest key is one zero byte.
fn first_of(prefix: &[u8]) -> Vec<u8> {
    if prefix.is_empty() {
        vec![0]
    } else {
        prefix.to_vec()
    }
}

/// `None` when the revision was compacted meanwhile.
async fn read_once(
    live: &Live,
    prefix: &[u8],
    max_bytes: u64,
) -> Result<Option<LiveKeys>, RestoreError> {
    let mut found = LiveKeys::default();
    let mut bytes = 0_u64;
    let mut from = first_of(prefix);
    let end = end_of(prefix);
    loop {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_limit(PAGE_KEYS)
            .with_revision(found.revision);
        let mut kv = live.kv.clone();
        let answer = live
            .within("read the keys", kv.get(from.clone(), Some(options)))
            .await;
        let mut answer = match answer {
            Err(error) if found.revision > 0 && error.to_string().contains("compacted") => {
                return Ok(None);
            }
            other => other?,
        };
        if found.revision == 0 {
            let header = answer.header();
            found.revision = header.map_or(0, etcd_client::ResponseHeader::revision);
            found.cluster_id = header.map_or(0, etcd_client::ResponseHeader::cluster_id);
        }
        let more = answer.more();
        for kv in answer.take_kvs() {
            let key = LiveKey {
                mod_revision: kv.mod_revision(),
                lease: kv.lease(),
                value: Bytes::copy_from_slice(kv.value()),
            };
            from = [kv.key(), &[0]].concat();
            bytes = bytes.saturating_add((kv.key().len() + kv.value().len()) as u64);
            if bytes > max_bytes {
                return Err(RestoreError::new(
                    Kind::Failed,
                    format!(
                        "the live cluster has more than {} under the prefix; {} was found last. Try: a longer --prefix",
                        size(max_bytes),
                        printable(kv.key())
                    ),
                ));
            }
            found.keys.insert(kv.key().to_vec(), key);
        }
        if !more {
            return Ok(Some(found));
        }
    }
}

/// The key behind all that begin with a prefix; a zero byte, which etcd takes for the end of all ranges, where there is none.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff);
    let Some((byte, before)) = last.and_then(|last| prefix.get(..=last)?.split_last()) else {
        return vec![0];
    };
    [before, &[byte + 1]].concat()
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(end_of(b"/a/"), b"/a0");
        assert_eq!(end_of(b"a\xff\xff"), b"b");
        assert_eq!(end_of(b"\xff"), [0]);
        assert_eq!(end_of(b""), [0]);
    }
}
