//! Revisions that are missing between what a timeline holds, and that nobody has recorded as lost.
//!
//! An agent records what it finds lost before it stores the base that heals the hole. It may still leave a hole without a
//! word: killed after a base that somebody asked for was stored, and before it had heard itself that the source had
//! compacted what it had not captured; or when the store's listing did not show what was there. Whoever comes next
//! finds such holes by the names alone, and by the manifest of the base on the far side of each: that base says where the
//! source was compacted, and what lies below that is gone for good.

use revkeep_schemas::Revision;

use crate::error::{ErrorKind, VaultError};
use crate::inventory::Listing;
use crate::layout::{NameKind, ObjectName};
use crate::timeline::Timeline;

/// A closed range of revisions.
type Range = (Revision, Revision);

/// Holes that are looked at, the newest first: where bases heal what was compacted, each has one.
const LOOKED_AT: usize = 64;

impl Timeline {
    /// The ranges that are neither covered nor recorded as lost, between the first base and the newest.
    pub(crate) async fn unnamed(&self, names: &Listing) -> Result<Vec<Range>, VaultError> {
        let mut unnamed = Vec::new();
        for (first, last) in breaks(names).into_iter().rev().take(LOOKED_AT) {
            if let Some(oldest) = self.history_from(names, first).await? {
                let last = last.min(oldest.previous());
                if first <= last {
                    unnamed.push((first, last));
                }
            }
        }
        unnamed.reverse();
        Ok(unnamed)
    }

    /// Where the history begins that the first sound base at or after a revision holds.
    async fn history_from(
        &self,
        names: &Listing,
        at: Revision,
    ) -> Result<Option<Revision>, VaultError> {
        let after = names
            .bases
            .iter()
            .filter(|name| revision_of(name).is_some_and(|revision| revision >= at));
        for name in after {
            match self.base(name).await {
                Ok(base) => return Ok(Some(base.covers().0)),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn revision_of(base: &ObjectName) -> Option<Revision> {
    match base.kind {
        NameKind::Base { revision, .. } => Some(revision),
        _ => None,
    }
}

/// What is in no segment, no recorded gap, and is no base's own revision, between the first base and the newest.
fn breaks(names: &Listing) -> Vec<Range> {
    let bases = || names.bases.iter().filter_map(revision_of);
    let (Some(mut reached), Some(newest)) = (bases().min(), bases().max()) else {
        return Vec::new();
    };
    let gaps = names.gaps.iter().filter_map(|name| match name.kind {
        NameKind::Gap { first, last, .. } => Some((first, last)),
        _ => None,
    });
    let segments = names.segments.iter().map(|entry| (entry.first, entry.last));
    let points = bases().map(|revision| (revision, revision));
    let mut ranges: Vec<Range> = segments.chain(gaps).chain(points).collect();
    ranges.sort_unstable();
    let mut breaks = Vec::new();
    for (first, last) in ranges {
        if first > newest {
            break;
        }
        if first > reached.next() {
            breaks.push((reached.next(), first.previous()));
        }
        reached = reached.max(last);
    }
    breaks
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use revkeep_schemas::kv::KeyValue;
    use revkeep_schemas::{FormatError, Row, RowKey, RowSource};

    use super::*;
    use crate::{BaseFacts, SourceIdentity, Vault};

    struct NoRows;

    impl RowSource for NoRows {
        type Error = FormatError;

        fn next_row(&mut self) -> Result<Option<Row<'_>>, FormatError> {
            Ok(None)
        }
    }

    async fn timeline() -> Timeline {
        let vault = Vault::create_with_store(Arc::new(InMemory::new()), Path::from("v"))
            .await
            .unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let source = SourceIdentity::default();
        cluster.create_timeline(source, None).await.unwrap()
    }

    async fn base(timeline: &Timeline, revision: i64, compact: i64) {
        let facts = BaseFacts {
            revision: Revision(revision),
            compact_revision: Revision(compact),
            ..BaseFacts::default()
        };
        timeline.write_base(facts, NoRows, None).await.unwrap();
    }

    async fn segment(timeline: &Timeline, first: i64, last: i64) {
        let mut writer = timeline.segment_writer(0, 1);
        for main in first..=last {
            let key = RowKey {
                main: Revision(main),
                sub: 0,
                tombstone: false,
            };
            let value = KeyValue {
                key: b"k",
                mod_revision: main,
                ..KeyValue::default()
            };
            let value = value.encode();
            let row = Row { key, value: &value };
            writer.push_revision(&[row], main).unwrap();
        }
        let sealed = writer.finish().unwrap();
        timeline.put_segment(&sealed).await.unwrap();
    }

    async fn unnamed(timeline: &Timeline) -> Vec<(i64, i64)> {
        let unnamed = timeline.newest().await.unwrap().unwrap().unnamed;
        unnamed.into_iter().map(|(a, b)| (a.0, b.0)).collect()
    }

    #[tokio::test]
    async fn a_hole_without_a_word_is_found_until_it_is_recorded() {
        let timeline = timeline().await;
        // What the first base does not reach is nobody's loss.
        base(&timeline, 10, 5).await;
        segment(&timeline, 11, 20).await;
        assert_eq!(unnamed(&timeline).await, []);
        base(&timeline, 40, 31).await;
        assert_eq!(unnamed(&timeline).await, [(21, 30)]);
        timeline
            .put_gap(Revision(21), Revision(25), "test")
            .await
            .unwrap();
        assert_eq!(unnamed(&timeline).await, [(26, 30)]);
        segment(&timeline, 26, 28).await;
        segment(&timeline, 41, 50).await;
        base(&timeline, 80, 70).await;
        assert_eq!(unnamed(&timeline).await, [(29, 30), (51, 69)]);
        timeline
            .put_gap(Revision(29), Revision(30), "test")
            .await
            .unwrap();
        timeline
            .put_gap(Revision(51), Revision(69), "test")
            .await
            .unwrap();
        assert_eq!(unnamed(&timeline).await, []);
    }

    #[tokio::test]
    async fn what_a_base_holds_itself_is_no_hole() {
        let timeline = timeline().await;
        base(&timeline, 10, 5).await;
        base(&timeline, 40, 11).await;
        assert_eq!(unnamed(&timeline).await, []);
        // Segments beyond the newest base are of no use yet, and nothing can be said of what is before them.
        segment(&timeline, 60, 61).await;
        assert_eq!(unnamed(&timeline).await, []);
    }
}
