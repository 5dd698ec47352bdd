//! Which segments touch a key or a prefix.

use std::fmt;
use std::str::FromStr;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::{SourceIdentity, TimelineRecord};
use revkeep_schemas::names::{TimelineId, Uid};
use serde::{Serialize, Serializer};
use sqlx::AssertSqlSafe;

use super::super::database::{Row, Value};
use super::super::open::Catalog;
use super::scope::{Found, Scope};
use crate::error::{ErrorKind, VaultError};
use crate::inventory::SegmentEntry;
use crate::layout::{NameKind, ObjectName};
use crate::timeline::Timeline;
use crate::vault::Vault;

/// Segments that one answer names at most.
const MOST: u32 = 10_000;
/// Key filters that are asked at once.
const AT_ONCE: usize = 16;

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
    /// Only what comes after this, as the answer before said in `next`.
    pub after: Option<Cursor>,
}

/// A place among the segments of a timeline; as text its parts with full stops between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    first: i64,
    last: i64,
    level: i64,
    uid: Uid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            last,
            level,
            uid,
        } = self;
        write!(f, "{first}.{last}.{level}.{uid}")
    }
}

impl FromStr for Cursor {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        let wrong = || {
            VaultError::new(
                ErrorKind::Config,
                format!(
                    "{text:?} is no place to go on from: give what the answer before says in next"
                ),
            )
        };
        let parts: Vec<&str> = text.split('.').collect();
        let [first, last, level, uid] = parts.as_slice() else {
            return Err(wrong());
        };
        let number = |part: &str| part.parse::<i64>().map_err(|_| wrong());
        Ok(Self {
            first: number(first)?,
            last: number(last)?,
            level: number(level)?,
            uid: uid.parse().map_err(|_| wrong())?,
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
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
    /// The segments, by first revision. None of the others up to `next` holds any such row.
    pub segments: Vec<SegmentAnswer>,
    /// Whether there may be more: ask again with `next`. So it can be where no segment is named here, as key filters may leave
    /// none of those that were looked at.
    pub more: bool,
    /// Where to go on, if there may be more.
    pub next: Option<Cursor>,
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
        let begin = super::times::begin(&mut tx, &found, wanted.from.0).await?;
        let mut sql = "SELECT first, last, level, uid, bytes, first_ms, last_ms FROM segments \
                   WHERE cluster_id = $1 AND timeline = $2 AND first <= $4 AND last >= $3 \
                   AND (max_key IS NULL OR max_key >= $5) AND (min_key IS NULL OR $6 = 1 OR min_key < $7 OR $8 = 0 AND min_key = $7) "
            .to_owned();
        let uid = wanted.after.as_ref().map(|after| after.uid.to_string());
        let mut values = vec![
            found.id.into(),
            found.timeline.into(),
            wanted.from.0.into(),
            wanted.to.0.into(),
            Value::Bytes(Some(&wanted.key)),
            end.is_none().into(),
            Value::Bytes(Some(end.as_deref().unwrap_or_default())),
            wanted.prefix.into(),
            // One more, to know whether there is more.
            (i64::from(limit) + 1).into(),
        ];
        if let (Some(after), Some(uid)) = (&wanted.after, &uid) {
            sql += "AND (first, last, level, uid) > ($10, $11, $12, $13) ";
            let after = [after.first, after.last, after.level];
            values.extend(after.map(Value::from));
            values.push(uid.into());
        } else {
            sql += "AND first >= $10 ";
            values.push(begin.into());
        }
        sql += "ORDER BY first, last, level, uid LIMIT $9";
        let mut rows = tx.all(AssertSqlSafe(sql), &values).await?;
        drop(tx);
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = match rows.last() {
            Some(row) if more => Some(cursor(row)?),
            _ => None,
        };
        Ok(TouchingAnswer {
            cluster: scope.cluster.to_string(),
            timeline: found.label(),
            segments: holding(scope, &found, &rows, wanted, vault).await?,
            more,
            next,
            filtered: vault.is_some(),
        })
    }
}

/// The segments of rows; with a vault, those of which key filters say that they may hold the key.
async fn holding(
    scope: &Scope,
    found: &Found,
    rows: &[Row],
    wanted: &KeyRange,
    vault: Option<&Vault>,
) -> Result<Vec<SegmentAnswer>, VaultError> {
    let timeline = TimelineId(u32::try_from(found.timeline).unwrap_or_default());
    let mut segments = Vec::new();
    for row in rows {
        let entry = entry(scope, timeline, row)?;
        let times = (row.maybe_int(5)?, row.maybe_int(6)?);
        segments.push((entry, times));
    }
    let place = vault.map(|vault| place(vault, scope, timeline));
    let mut asked = stream::iter(segments)
        .map(async |(entry, times)| {
            let holds = match &place {
                Some(place) => may_hold(place, &entry, wanted).await?,
                None => true,
            };
            Ok::<_, VaultError>(holds.then_some((entry, times)))
        })
        .buffered(AT_ONCE);
    let mut holding = Vec::new();
    while let Some(one) = asked.try_next().await? {
        holding.extend(one.map(|(entry, (first_ms, last_ms))| SegmentAnswer {
            name: entry.name,
            level: entry.level,
            first: entry.first,
            last: entry.last,
            bytes: entry.bytes,
            first_ms,
            last_ms,
        }));
    }
    Ok(holding)
}

fn cursor(row: &Row) -> Result<Cursor, VaultError> {
    Ok(Cursor {
        first: row.int(0)?,
        last: row.int(1)?,
        level: row.int(2)?,
        uid: uid(row)?,
    })
}

fn uid(row: &Row) -> Result<Uid, VaultError> {
    row.text(3)?.parse().map_err(|error| {
        VaultError::new(
            ErrorKind::Corrupt,
            "catalog: it holds what this program did not write: run `revkeep catalog rebuild`",
        )
        .with_source(error)
    })
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
    let uid = uid(row)?;
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

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = super::Cursor {
            first: 5,
            last: 90,
            level: 1,
            uid: revkeep_schemas::names::Uid(0xab),
        };
        let text = place.to_string();
        assert_eq!(text.parse::<super::Cursor>().unwrap(), place);
        for wrong in [
            "",
            "5",
            "5.90.1",
            "5.90.1.x",
            "a.90.1.00000000000000ab",
            "5.9.1.00000000000000ab.2",
        ] {
            wrong.parse::<super::Cursor>().unwrap_err();
        }
    }
}
