use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use revkeep_schemas::manifest::{BaseFacts, BaseManifest, GapRecord};
use revkeep_schemas::names::Uid;

use super::*;
use crate::inventory::{BaseEntry, GapEntry, SegmentEntry};

fn base(compact: i64, revision: i64) -> BaseEntry {
    let facts = BaseFacts {
        revision: Revision(revision),
        compact_revision: Revision(compact),
        ..BaseFacts::default()
    };
    BaseEntry {
        name: String::new(),
        revision: facts.revision,
        compact_revision: facts.compact_revision,
        manifest: Arc::new(BaseManifest::of_chunks(facts, Vec::new())),
    }
}

fn segment(first: i64, last: i64) -> SegmentEntry {
    SegmentEntry {
        name: String::new(),
        level: 0,
        first: Revision(first),
        last: Revision(last),
        uid: Uid(0),
        bytes: 0,
    }
}

/// What can be restored, said naively: a base gives its own history, and whoever has a revision and any segment that
/// holds the next one has that too.
fn model(inventory: &Inventory) -> BTreeSet<i64> {
    let mut all = BTreeSet::new();
    for base in &inventory.bases {
        all.extend(base.compact_revision.0.max(1)..=base.revision.0);
        let mut at = base.revision.0;
        while inventory
            .segments
            .iter()
            .any(|s| s.first.0 <= at + 1 && at < s.last.0)
        {
            at += 1;
            all.insert(at);
        }
    }
    all
}

fn inventories() -> impl Strategy<Value = Inventory> {
    let range = || (1..60_i64, 0..8_i64).prop_map(|(first, len)| (first, first + len));
    let bases = proptest::collection::vec((0..60_i64, 0..60_i64), 0..4);
    let segments = proptest::collection::vec(range(), 0..12);
    let gaps = proptest::collection::vec(range(), 0..3);
    (bases, segments, gaps).prop_map(|(bases, segments, gaps)| {
        let gap = |(first, last)| GapEntry {
            name: String::new(),
            record: GapRecord {
                distrusted: false,
                first: Revision(first),
                last: Revision(last),
                reason: "lost".into(),
            },
        };
        Inventory {
            bases: bases
                .into_iter()
                .map(|(a, b)| base(a.min(b), a.max(b).max(1)))
                .collect(),
            segments: segments
                .into_iter()
                .map(|(first, last)| segment(first, last))
                .collect(),
            gaps: gaps.into_iter().map(gap).collect(),
            damaged: Vec::new(),
        }
    })
}

proptest! {
    #[test]
    fn coverage_is_the_naive_set(inventory in inventories()) {
        let coverage = Coverage::compute(&inventory);
        let model = model(&inventory);
        for revision in 0..80 {
            let at = Revision(revision);
            prop_assert_eq!(coverage.contains(at), model.contains(&revision), "revision {}", revision);
            let below = model.range(..=revision).next_back().copied().map(Revision);
            let above = model.range(revision..).next().copied().map(Revision);
            prop_assert_eq!(coverage.nearest(at), (below, above));
        }
        prop_assert_eq!(coverage.newest(), model.last().copied().map(Revision));
        prop_assert_eq!(coverage.oldest(), model.first().copied().map(Revision));
    }

    #[test]
    fn no_gap_is_covered_and_every_hole_is_a_gap(inventory in inventories()) {
        let coverage = Coverage::compute(&inventory);
        let gap_at = |at| coverage.gaps.iter().any(|gap| gap.first <= at && at <= gap.last);
        let (Some(oldest), Some(newest)) = (coverage.oldest(), coverage.newest()) else {
            return Ok(());
        };
        for at in (oldest.0..=newest.0).map(Revision) {
            prop_assert_eq!(gap_at(at), !coverage.contains(at), "revision {}", at);
        }
    }

    #[test]
    fn what_was_recorded_after_the_newest_is_told_once(inventory in inventories()) {
        let coverage = Coverage::compute(&inventory);
        let newest = coverage.newest().unwrap_or(Revision::ZERO);
        for at in (newest.0 + 1..80).map(Revision) {
            let within = |first: Revision, last: Revision| usize::from(first <= at && at <= last);
            let recorded: usize = inventory.gaps.iter().map(|gap| within(gap.record.first, gap.record.last)).sum();
            let told: usize = coverage.gaps.iter().map(|gap| within(gap.first, gap.last)).sum();
            prop_assert_eq!(told, recorded.min(1), "revision {}", at);
        }
        prop_assert!(coverage.gaps.is_sorted_by(|a, b| a.last < b.first));
    }

    #[test]
    fn the_cursor_is_where_the_newest_base_reaches(inventory in inventories()) {
        let mut segments = inventory.segments.clone();
        segments.sort_by_key(|segment| (segment.first, segment.last));
        if let Some(newest) = inventory.bases.iter().max_by_key(|base| base.revision) {
            let alone = Inventory { bases: vec![newest.clone()], ..inventory.clone() };
            let reached = crate::inventory::reach(&segments, newest.revision);
            prop_assert_eq!(Some(reached), Coverage::compute(&alone).newest());
        }
    }
}

#[test]
fn segments_without_a_base_cover_nothing() {
    let inventory = Inventory {
        segments: vec![segment(1, 9)],
        ..Inventory::default()
    };
    assert_eq!(Coverage::compute(&inventory), Coverage::default());
}

#[test]
fn what_differs_from_the_source_covers_nothing_until_a_base_does() {
    let wrong = GapEntry {
        name: String::new(),
        record: GapRecord {
            distrusted: true,
            first: Revision(23),
            last: Revision(25),
            reason: "differs".into(),
        },
    };
    let mut inventory = Inventory {
        bases: vec![base(1, 10)],
        segments: vec![segment(11, 20), segment(21, 30), segment(31, 40)],
        gaps: vec![wrong],
        damaged: Vec::new(),
    };
    inventory.set_distrusted_aside();
    assert_eq!(inventory.damaged.len(), 1);
    let coverage = Coverage::compute(&inventory);
    assert_eq!(coverage.ranges, [(Revision(1), Revision(20))]);
    assert!(!coverage.contains(Revision(24)));
    // What the source still had of it comes with a base; the rest is a hole, with its reason.
    inventory.bases.push(base(24, 35));
    let coverage = Coverage::compute(&inventory);
    let expected = [(Revision(1), Revision(20)), (Revision(24), Revision(40))];
    assert_eq!(coverage.ranges, expected);
    let hole = Missing {
        first: Revision(21),
        last: Revision(23),
        reason: Some("differs".into()),
    };
    assert_eq!(coverage.gaps, [hole]);
}
