use proptest::prelude::*;

use super::{
    Compaction, LiveIndex,
    model::{Model, histories, rules},
};
use crate::{Revision, Row, RowKey, hashkv::TombstoneRule, kv::KeyValue};

fn index(rows: &Model, floor: Revision, points: &[Revision]) -> LiveIndex {
    let mut index = LiveIndex::new(7, floor, points, 0).unwrap();
    for row in &rows.0 {
        index.observe(&row.as_row()).unwrap();
    }
    index
}

proptest! {
    /// Invariant 3, exact: the stream is left with the rows that compaction of the whole history leaves, from
    /// whichever earlier compaction the base came.
    #[test]
    fn leaves_what_etcd_leaves(
        history in histories(), floor in 0..26_i64, above in 0..26_i64, rule in rules(), base_rule in rules(),
    ) {
        let (floor, at) = (Revision(floor), Revision(floor + above));
        let base = history.compact(floor, base_rule);
        let index = index(&base, floor, &[at]);
        let compaction = Compaction { at, rule };
        let kept = base.0.iter().filter(|row| compaction.keeps(&row.as_row(), &index, 0).unwrap());
        let kept: Vec<_> = kept.cloned().collect();
        prop_assert_eq!(kept, base.compact(at, rule).0);
        let same = above > 0 || rule == base_rule || rule == TombstoneRule::Counted;
        prop_assert!(!same || base.compact(at, rule).0 == history.compact(at, rule).0);
    }

    #[test]
    fn knows_the_newest_row_at_every_point(history in histories(), floor in 0..9_i64, points in prop::array::uniform3(9..26_i64)) {
        let points = points.map(Revision);
        let index = index(&history, Revision(floor), &points);
        for key in 0..5_u8 {
            let name = [b'k', key];
            for (position, point) in points.iter().enumerate() {
                let newest = history.0.iter().rev().map(|row| row.as_row()).find(|row| {
                    row.key.main <= *point
                        && row.key.main.0 > floor
                        && KeyValue::decode(row.value).unwrap().key == name
                });
                prop_assert_eq!(index.newest(&name, position), newest.map(|row| row.key));
            }
        }
        prop_assert_eq!(index.newest(b"k\0", 3), None);
    }
}

fn put(main: i64, key: &[u8]) -> (RowKey, Vec<u8>) {
    let kv = KeyValue {
        key,
        ..KeyValue::default()
    };
    let main = Revision(main);
    (
        RowKey {
            main,
            sub: 0,
            tombstone: false,
        },
        kv.encode(),
    )
}

#[test]
fn a_million_rows_stay_under_eighty_megabytes() {
    for points in [&[Revision::MAX][..], &[Revision::MAX; 3]] {
        let mut index = LiveIndex::new(1, Revision(1), points, 1_000_000).unwrap();
        for main in 2..1_000_002_i64 {
            let (key, value) = put(main, &main.to_be_bytes());
            index.observe(&Row { key, value: &value }).unwrap();
        }
        assert_eq!(index.len(), 1_000_000);
        assert!(
            index.memory_bytes() < 80_000_000,
            "{}",
            index.memory_bytes()
        );
        for main in (2..1_000_002_i64).step_by(997) {
            let newest = index.newest(&main.to_be_bytes(), points.len() - 1);
            assert_eq!(newest.unwrap().main, Revision(main));
        }
        assert_eq!(index.newest(b"another", 0), None);
    }
}

#[test]
fn refuses_what_it_cannot_hold() {
    assert!(LiveIndex::new(0, Revision(5), &[Revision(4)], 0).is_err());
    assert!(LiveIndex::new(0, Revision(5), &[Revision(6); 4], 0).is_err());
    let mut index = LiveIndex::new(0, Revision(5), &[Revision::MAX], 0).unwrap();
    let (key, value) = put(6, b"k");
    index.observe(&Row { key, value: &value }).unwrap();
    assert!(index.observe(&Row { key, value: &value }).is_err());
    let (key, value) = put(6 + (1 << 36), b"k");
    assert!(index.observe(&Row { key, value: &value }).is_err());
}

#[test]
fn a_key_deleted_and_put_at_the_compact_revision_stays() {
    let history = Model::run(&[vec![(1, true)], vec![(1, false), (1, true)]]);
    let at = Revision(3);
    for (rule, kept) in [(TombstoneRule::Counted, 1), (TombstoneRule::Skipped, 2)] {
        let index = index(&history, Revision(1), &[at]);
        let compaction = Compaction { at, rule };
        let keeps = |row: &&crate::RowBuf| compaction.keeps(&row.as_row(), &index, 0).unwrap();
        let left: Vec<_> = history.0.iter().filter(keeps).collect();
        assert_eq!(left.len(), kept);
        assert!(!left.last().unwrap().key.tombstone);
    }
}
