//! Searches, newest first.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use revkeep_vault::Timeline;

use super::limits::{MAX_HELD_BYTES, MOST_KEYS_ASKED, PARALLEL_INDEXES, PARALLEL_PIECES};
use super::read::{Looked, Read};
use super::selection::{Piece, Selection};
use super::{Version, printable};
use crate::error::{Kind, RestoreError};
use crate::report::size;

/// What was found, by key; a deletion counts as found.
pub(super) type Newest = BTreeMap<Vec<u8>, Version>;

/// Indexes and filters, newest first, a few ahead of what is looked at.
fn looked<'a>(
    timeline: &'a Timeline,
    reads: &'a [Read],
) -> impl stream::Stream<Item = Result<Looked, RestoreError>> + 'a {
    stream::iter(reads.iter().rev())
        .map(|read| read.clone().look(timeline))
        .buffered(PARALLEL_INDEXES)
}

/// The newest version of a key for which `accept` holds; nothing older than it is read.
pub(super) async fn newest_of_key(
    timeline: &Timeline,
    reads: &[Read],
    key: &[u8],
    accept: impl Fn(&Version) -> bool,
) -> Result<Option<Version>, RestoreError> {
    let mut looked = std::pin::pin!(looked(timeline, reads));
    while let Some(piece) = looked.try_next().await? {
        let parts = piece.parts(|piece| piece.may_hold(key));
        for part in parts.into_iter().flat_map(super::part::Part::singly).rev() {
            let block = part.fetch(timeline).await?;
            let versions = block.versions(|other| other == key)?;
            if let Some(found) = versions.into_iter().rev().find(&accept) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The newest version of each of some keys. Ends when all are found.
pub(super) async fn newest_of_keys(
    timeline: &Timeline,
    reads: &[Read],
    keys: &[&[u8]],
    mut found: Held,
) -> Result<Newest, RestoreError> {
    let mut left: std::collections::BTreeSet<&[u8]> = keys.iter().copied().collect();
    let mut looked = std::pin::pin!(looked(timeline, reads));
    while !left.is_empty()
        && let Some(piece) = looked.try_next().await?
    {
        let all = left.len() > MOST_KEYS_ASKED;
        let parts = piece.parts(|piece| all || left.iter().any(|key| piece.may_hold(key)));
        let mut blocks = std::pin::pin!(
            stream::iter(parts.into_iter().rev())
                .map(|part| part.fetch(timeline))
                .buffered(PARALLEL_PIECES)
        );
        while let Some(block) = blocks.try_next().await? {
            for version in block.versions(|key| left.contains(key))?.into_iter().rev() {
                if left.remove(version.key.as_slice()) {
                    found.add(version, true)?;
                }
            }
        }
    }
    Ok(found.newest)
}

/// The newest version of every wanted key. Values are dropped unless they are asked for.
pub(super) async fn newest_of_each(
    timeline: &Timeline,
    reads: &[Read],
    selection: &Selection,
    values: bool,
    mut found: Held,
) -> Result<Newest, RestoreError> {
    if let Selection::Key(key) = selection {
        let found = newest_of_key(timeline, reads, key, |_| true).await?;
        return Ok(found
            .into_iter()
            .map(|found| (found.key.clone(), found))
            .collect());
    }
    let mut blocks = std::pin::pin!(
        looked(timeline, reads)
            .map_ok(|piece| {
                let parts = piece.parts(|piece: Piece<'_>| selection.may_be_in(piece));
                stream::iter(parts.into_iter().rev().map(Ok))
            })
            .try_flatten()
            .map_ok(|part| part.fetch(timeline))
            .try_buffered(PARALLEL_PIECES)
    );
    while let Some(block) = blocks.try_next().await? {
        let versions =
            block.versions(|key| selection.wants(key) && !found.newest.contains_key(key))?;
        for version in versions.into_iter().rev() {
            found.add(version, values)?;
        }
    }
    Ok(found.newest)
}

/// Versions in memory, which are counted.
#[derive(Debug)]
pub(super) struct Held {
    newest: Newest,
    bytes: u64,
    max_bytes: u64,
    /// What to do where there is more.
    advice: &'static str,
}

impl Held {
    pub(super) const fn new(advice: &'static str) -> Self {
        Self {
            newest: Newest::new(),
            bytes: 0,
            max_bytes: MAX_HELD_BYTES,
            advice,
        }
    }

    /// Takes a version unless a newer one of its key is there.
    fn add(&mut self, mut version: Version, value: bool) -> Result<(), RestoreError> {
        if !value {
            version.value.clear();
        }
        let bytes = (version.key.len() + version.value.len()) as u64;
        if let std::collections::btree_map::Entry::Vacant(place) =
            self.newest.entry(version.key.clone())
        {
            let version = place.insert(version);
            self.bytes = self.bytes.saturating_add(bytes);
            if self.bytes > self.max_bytes {
                return Err(RestoreError::new(
                    Kind::Failed,
                    format!(
                        "what was asked for has more than {}; {} was found last. Try: {}",
                        size(self.max_bytes),
                        printable(&version.key),
                        self.advice
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_held_is_refused_in_the_words_of_the_command() {
        let version = |key: &str| Version {
            key: key.as_bytes().to_vec(),
            at: revkeep_schemas::RowKey {
                main: revkeep_schemas::Revision(2),
                sub: 0,
                tombstone: false,
            },
            create_revision: 2,
            version: 1,
            lease: 0,
            value: vec![0; 600].into(),
        };
        let mut held = Held {
            max_bytes: 1024,
            ..Held::new("less")
        };
        held.add(version("a"), true).unwrap();
        held.add(version("a"), true).unwrap();
        held.add(version("b"), false).unwrap();
        let error = held.add(version("c"), true).unwrap_err().to_string();
        assert!(error.contains("more than 1.0 KiB; c was"), "{error}");
        assert!(error.ends_with("Try: less"), "{error}");
    }
}
