//! What segments say beside their rows.
//!
//! An agent notes a fact in one segment only: the compact revision when it has grown, a lease's TTL when it is first
//! seen. The plan may pass that very segment over because another covers its range, so the facts of *all* segments that
//! bear on a plan count, not only of those whose rows are read.

use std::collections::BTreeMap;

use revkeep_schemas::Revision;
use revkeep_vault::{Checkpoint, SegmentIndex};

use crate::plan::CompactFact;

/// What segments say beside their rows.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Compactions of the source.
    pub compactions: Vec<CompactFact>,
    /// HashKV as the source reported it.
    pub checkpoints: Vec<Checkpoint>,
    /// By lease id: the revision where it was first seen, and its granted TTL in seconds then.
    leases: BTreeMap<i64, (Revision, i64)>,
}

impl Facts {
    /// Adds what one index says about revisions up to `target`.
    pub fn add(&mut self, index: &SegmentIndex, target: Revision) {
        // A mark at 0 does not say where the source stood. It was gathered after the segment's last row, so it holds
        // from there on: never too early, which would drop history.
        let last = index
            .frames
            .last()
            .map_or(Revision::MAX, |frame| frame.last);
        let marks = index.compactions.iter().map(|mark| CompactFact {
            after: if mark.revision == Revision::ZERO {
                last
            } else {
                mark.revision
            },
            compact_revision: mark.compact_revision,
        });
        self.compactions.extend(marks);
        for fact in &index.leases {
            let known = self.leases.get(&fact.id).map(|known| known.0);
            if fact.first_seen <= target && known.is_none_or(|known| known <= fact.first_seen) {
                self.leases
                    .insert(fact.id, (fact.first_seen, fact.granted_ttl_s));
            }
        }
        self.checkpoints.extend(&index.checkpoints);
    }

    /// Adds to the granted TTLs that a base says, in seconds by lease id; of several grants of one id the latest counts.
    /// Of what was granted up to its revision the base has the last word: an id can be granted again.
    pub fn complete(&self, granted: &mut BTreeMap<i64, i64>, base: Revision) {
        for (id, (first_seen, ttl_s)) in &self.leases {
            if *first_seen > base || !granted.contains_key(id) {
                granted.insert(*id, *ttl_s);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revkeep_schemas::RowKey;
    use revkeep_schemas::kv::KeyValue;
    use revkeep_schemas::row::Row;
    use revkeep_vault::{ClusterName, CompactionMark, LeaseFact, SourceIdentity, Vault};

    async fn index(
        range: std::ops::RangeInclusive<i64>,
        marks: &[(i64, i64)],
        leases: &[(i64, i64, i64)],
    ) -> SegmentIndex {
        let vault = Vault::create("memory:").await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        let mut writer = timeline.segment_writer(0, 1);
        let value = KeyValue::encode_tombstone(b"k");
        for main in range {
            let key = RowKey {
                main: Revision(main),
                sub: 0,
                tombstone: true,
            };
            writer
                .push_revision(&[Row { key, value: &value }], 1)
                .unwrap();
        }
        for (revision, compact_revision) in marks {
            writer.compaction(CompactionMark {
                revision: Revision(*revision),
                compact_revision: Revision(*compact_revision),
            });
        }
        for (id, granted_ttl_s, first_seen) in leases {
            writer.lease(LeaseFact {
                id: *id,
                granted_ttl_s: *granted_ttl_s,
                first_seen: Revision(*first_seen),
            });
        }
        writer.finish().unwrap().index
    }

    #[tokio::test]
    async fn a_mark_without_a_place_holds_from_the_end_of_its_segment() {
        let mut facts = Facts::default();
        let index = index(5..=9, &[(0, 4), (7, 6), (12, 8)], &[]).await;
        facts.add(&index, Revision(9));
        let after: Vec<_> = facts.compactions.iter().map(|fact| fact.after.0).collect();
        assert_eq!(after, [9, 7, 12]);
    }

    #[tokio::test]
    async fn the_latest_grant_up_to_the_target_counts_in_any_order() {
        let old = index(5..=9, &[], &[(1, 60, 6), (2, 30, 9)]).await;
        let new = index(8..=12, &[], &[(1, 90, 8), (1, 120, 12)]).await;
        for order in [[&old, &new], [&new, &old]] {
            let mut facts = Facts::default();
            for index in order {
                facts.add(index, Revision(9));
            }
            let mut ttls = BTreeMap::new();
            facts.complete(&mut ttls, Revision::ZERO);
            assert_eq!(ttls, BTreeMap::from([(1, 90), (2, 30)]));
        }
    }

    #[tokio::test]
    async fn a_base_knows_better_than_what_was_seen_before_it() {
        let mut facts = Facts::default();
        let seen = [(1, 60, 6), (2, 60, 6), (3, 60, 8), (4, 60, 9)];
        facts.add(&index(5..=9, &[], &seen).await, Revision(9));
        // 1 to 3 were granted again before the base, 4 after it; of 2 the base knows nothing.
        let mut ttls = BTreeMap::from([(1, 30), (3, 30), (4, 30)]);
        facts.complete(&mut ttls, Revision(8));
        assert_eq!(ttls, BTreeMap::from([(1, 30), (2, 60), (3, 30), (4, 60)]));
    }
}
