//! Which segments touch a key or a prefix.

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::{SourceIdentity, TimelineRecord};
use revkeep_schemas::names::TimelineId;
use serde::Serialize;

use super::super::database::{Row, Value};
use super::super::open::Catalog;
use super::scope::Scope;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::SegmentEntry;
use crate::layout::{NameKind, ObjectName};
use crate::timeline::Timeline;
use crate::vault::Vault;

/// Segments that one answer names at most.
const MOST: u32 = 10_000;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The key, or what it begins with.
    pub key: Vec<u8>,
    /// Whether all keys that begin with it are meant.
    pub prefix: bool,
    /// From this revision on.
    pub from: Revision,
    /// Up to this revision.
    pub to: Revision,
    /// So many segments at most.
    pub limit: u32,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentAnswer {
    /// The object, below the vault's prefix.
    pub name: String,
    /// 0 for what agents flushed.
    pub level: u8,
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// Bytes of the object.
    pub bytes: u64,
    /// When its first change was seen.
    pub first_ms: Option<i64>,
    /// When its last change was seen.
    pub last_ms: Option<i64>,
}

/// Segments that may hold rows of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TouchingAnswer {
    /// The cluster.
    pub cluster: String,
    /// The timeline.
    pub timeline: String,
    /// The segments, by first revision. None of the others holds any such row.
    pub segments: Vec<SegmentAnswer>,
    /// Whether there may be more: ask again from the revision after the first one of the last segment on.
    pub more: bool,
    /// Whether the key filters in the vault were asked, too.
    pub filtered: bool,
}

impl Catalog {
    /// The segments that may hold rows of a key or prefix: those whose range of keys does, and with a vault of these only
    /// those whose key filters do.
    ///
    /// # Errors
    /// `NotFound` for a cluster or timeline that the catalog does not know; as the database or the store fails.
    pub async fn touching(
        &self,
        scope: &Scope,
        wanted: &KeyRange,
        vault: Option<&Vault>,
    ) -> Result<TouchingAnswer, VaultError> {
        let mut tx = self.reading().await?;
        let found = scope.find(&mut tx).await?;
        let limit = wanted.limit.clamp(1, MOST);
        // Of a key that begins with the prefix a bound may be cut, so it is compared with the prefix's own end.
        let end = if wanted.prefix {
            after(&wanted.key)
        } else {
            Some(wanted.key.clone())
        };
        let sql = "SELECT first, last, level, uid, bytes, first_ms, last_ms FROM segments \
                   WHERE cluster_id = $1 AND timeline = $2 AND first <= $4 AND last >= $3 \
                   AND (max_key IS NULL OR max_key >= $5) AND (min_key IS NULL OR $6 = 1 OR min_key < $7 OR $8 = 0 AND min_key = $7) \
                   ORDER BY first, last, level, uid LIMIT $9";
        let values = [
            found.id.into(),
            found.timeline.into(),
            wanted.from.0.into(),
            wanted.to.0.into(),
            Value::Bytes(Some(&wanted.key)),
            end.is_none().into(),
            Value::Bytes(Some(end.as_deref().unwrap_or_default())),
            wanted.prefix.into(),
            i64::from(limit).into(),
        ];
        let rows = tx.all(sql, &values).await?;
        drop(tx);
        let timeline = TimelineId(u32::try_from(found.timeline).unwrap_or_default());
        let mut segments = Vec::new();
        for row in &rows {
            let entry = entry(scope, timeline, row)?;
            if let Some(vault) = vault
                && !may_hold(&place(vault, scope, timeline), &entry, wanted).await?
            {
                continue;
            }
            segments.push(SegmentAnswer {
                name: entry.name,
                level: entry.level,
                first: entry.first,
                last: entry.last,
                bytes: entry.bytes,
                first_ms: row.maybe_int(5)?,
                last_ms: row.maybe_int(6)?,
            });
        }
        Ok(TouchingAnswer {
            cluster: scope.cluster.to_string(),
            timeline: found.label(),
            more: rows.len() >= limit as usize,
            segments,
            filtered: vault.is_some(),
        })
    }
}

/// The first key after all that begin with a prefix; none where there is none.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

async fn may_hold(
    timeline: &Timeline,
    entry: &SegmentEntry,
    wanted: &KeyRange,
) -> Result<bool, VaultError> {
    let index = match timeline.segment_index(entry).await {
        Ok(index) => index,
        // What is damaged may hold anything; what is gone, nothing.
        Err(error) if error.is_damage() => return Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut frames = index.frames_of(wanted.from, wanted.to);
    Ok(frames.any(|frame| {
        if wanted.prefix {
            frame.may_hold_prefix(&wanted.key)
        } else {
            frame.may_hold(&wanted.key)
        }
    }))
}

/// The timeline as a place to read from.
pub(super) fn place(vault: &Vault, scope: &Scope, timeline: TimelineId) -> Timeline {
    let record = TimelineRecord {
        source: SourceIdentity::default(),
        parent: None,
        fork_at_most: false,
    };
    vault
        .cluster(&scope.cluster)
        .known_timeline(timeline, record)
}

/// A segment from a row of first, last, level, uid, bytes.
pub(super) fn entry(
    scope: &Scope,
    timeline: TimelineId,
    row: &Row,
) -> Result<SegmentEntry, VaultError> {
    let (first, last) = (Revision(row.int(0)?), Revision(row.int(1)?));
    let level = u8::try_from(row.int(2)?).unwrap_or(u8::MAX);
    let uid = row.text(3)?.parse().map_err(|error| {
        VaultError::new(
            ErrorKind::Corrupt,
            "catalog: it holds what this program did not write: run `revkeep catalog rebuild`",
        )
        .with_source(error)
    })?;
    let name = ObjectName {
        cluster: scope.cluster.clone(),
        timeline,
        kind: NameKind::Segment {
            level,
            first,
            last,
            uid,
        },
    };
    Ok(SegmentEntry {
        name: name.path(),
        level,
        first,
        last,
        uid,
        bytes: row.count(4)?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_prefix_ends_before_the_next() {
        assert_eq!(super::after(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(super::after(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(super::after(b"\xff"), None);
        assert_eq!(super::after(b""), None);
    }
}
