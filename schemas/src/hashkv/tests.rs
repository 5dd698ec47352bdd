use proptest::{collection::vec, prelude::*};

use super::{HashFilter, HashKv, HashView, TombstoneRule};
use crate::{
    Revision, Row, RowBuf, RowKey,
    compaction::{
        LiveIndex,
        model::{Model, crc32c, histories, rules},
    },
    kv::KeyValue,
};

fn stream(rows: &Model, floor: Revision, filter: HashFilter) -> u32 {
    let mut index = LiveIndex::new(3, floor, &[filter.revision], 0).unwrap();
    for row in &rows.0 {
        index.observe(&row.as_row()).unwrap();
    }
    let mut view = HashView::new(filter);
    for row in &rows.0 {
        view.update(&row.as_row(), &index, 0).unwrap();
    }
    view.finish()
}

/// The same hash from folds over parts of the rows, cut between revisions and joined.
fn joined(rows: &Model, floor: Revision, filter: HashFilter, cuts: [usize; 2]) -> u32 {
    let mut index = LiveIndex::new(3, floor, &[filter.revision], 0).unwrap();
    for row in &rows.0 {
        index.observe(&row.as_row()).unwrap();
    }
    let mut cuts = cuts.map(|cut| {
        let row = rows.0.get(cut);
        row.map_or(rows.0.len(), |row| {
            rows.0
                .partition_point(|other| other.key.main < row.key.main)
        })
    });
    cuts.sort_unstable();
    let [first, second] = cuts;
    let mut whole = HashView::new(filter);
    for (position, part) in [0..first, first..second, second..rows.0.len()]
        .into_iter()
        .enumerate()
    {
        let mut view = if position == 0 {
            HashView::new(filter)
        } else {
            HashView::continued(filter)
        };
        for row in &rows.0[part] {
            view.update(&row.as_row(), &index, 0).unwrap();
        }
        if position == 0 {
            whole = view;
        } else {
            whole.join(view);
        }
    }
    whole.finish()
}

proptest! {
    /// Folds over parts of the rows, joined in order, give the hash of one fold over all.
    #[test]
    fn parts_hash_as_the_whole(
        history in histories(), base in 0..20_i64, revision in 0..26_i64, compacted in prop::option::of(0..26_i64),
        rule in rules(), cuts in (0..40_usize, 0..40_usize),
    ) {
        let (floor, revision) = (Revision(base), Revision(base + revision));
        let compacted = compacted.map(|compacted| Revision((base + compacted).min(revision.0)));
        let rows = history.compact(floor, rule);
        let filter = HashFilter { revision, compacted, rule };
        prop_assert_eq!(joined(&rows, floor, filter, cuts.into()), stream(&rows, floor, filter));
    }

    /// Invariant 3, exact: the streamed hash is the one said in words, whether or not the rows below C are purged.
    #[test]
    fn the_stream_hashes_as_the_model(
        history in histories(), base in 0..20_i64, revision in 0..26_i64, compacted in prop::option::of(0..26_i64),
        rule in rules(), purged in any::<bool>(),
    ) {
        let (floor, revision) = (Revision(base), Revision(base + revision));
        let compacted = compacted.map(|compacted| Revision((base + compacted).min(revision.0)));
        let mut rows = history.compact(floor, rule);
        if let (true, Some(at)) = (purged, compacted) {
            rows = rows.compact(at, rule);
        }
        let filter = HashFilter { revision, compacted, rule };
        prop_assert_eq!(stream(&rows, floor, filter), rows.hash(revision, compacted, rule));
    }

    #[test]
    fn while_a_key_lives_purging_changes_nothing(
        history in histories(), compacted in 0..26_i64, above in 0..9_i64, rule in rules(),
    ) {
        let compacted = Revision(compacted);
        let revision = Revision(compacted.0 + above);
        let filter = HashFilter { revision, compacted: Some(compacted), rule };
        let mut live = Model::run(&[vec![(9, true)]]).0;
        live.extend(history.0.iter().cloned().map(|mut row| {
            row.key.main = row.key.main.next();
            row
        }));
        let history = Model(live);
        let purged = history.compact(compacted, rule);
        prop_assume!(compacted >= Revision(2));
        prop_assert_eq!(
            stream(&history, Revision::ZERO, filter),
            stream(&purged, compacted, filter)
        );
    }

    #[test]
    fn pieces_of_any_size_fold_alike(sizes in vec(0..9000_usize, 0..12)) {
        let mut fold = HashKv::new();
        let mut plain = b"key".to_vec();
        for (main, size) in (2_i64..).zip(sizes) {
            let value = vec![main.to_le_bytes()[0]; size];
            let key = RowKey { main: Revision(main), sub: 0, tombstone: size % 2 == 0 };
            fold.update(&Row { key, value: &value });
            plain.extend_from_slice(&key.encode());
            plain.extend_from_slice(&value);
        }
        prop_assert_eq!(fold.finish(), crc32c(&plain));
    }
}

#[test]
fn an_empty_store_has_the_known_hash() {
    assert_eq!(HashKv::new().finish(), 0x40a4_756d);
}

/// The empty-keep trap: once the last key is gone, rows below C that are still there count again.
#[test]
fn with_no_live_key_every_row_present_counts() {
    let history = Model::run(&[vec![(1, true)], vec![(1, true)], vec![(1, false)]]);
    let filter = |rule| HashFilter {
        revision: Revision(4),
        compacted: Some(Revision(4)),
        rule,
    };
    let counted = stream(&history, Revision::ZERO, filter(TombstoneRule::Counted));
    let skipped = stream(&history, Revision::ZERO, filter(TombstoneRule::Skipped));
    assert_ne!(counted, 0x40a4_756d);
    assert_ne!(counted, skipped, "the rules part at a tombstone at C");
    let mut puts = HashKv::new();
    for row in history.0.iter().filter(|row| !row.key.tombstone) {
        puts.update(&row.as_row());
    }
    assert_eq!(skipped, puts.finish());
}

/// By the newer rule a key that is deleted at R and put again by the same transaction is not kept: here no key is.
#[test]
fn a_key_put_again_by_the_transaction_that_deleted_it_is_not_kept() {
    let history = Model::run(&[
        vec![(1, true)],
        vec![(1, false), (1, true)],
        vec![(2, true)],
    ]);
    let hash = |revision, rule| {
        let filter = HashFilter {
            revision: Revision(revision),
            compacted: Some(Revision(2)),
            rule,
        };
        stream(&history, Revision::ZERO, filter)
    };
    let of = |rows: &[usize]| {
        let mut fold = HashKv::new();
        for row in rows {
            fold.update(&history.0[*row].as_row());
        }
        fold.finish()
    };
    assert_eq!(hash(3, TombstoneRule::Skipped), of(&[0, 1, 2]));
    assert_eq!(hash(3, TombstoneRule::Counted), of(&[1, 2]));
    // A revision later it is a key like any other.
    assert_eq!(hash(4, TombstoneRule::Skipped), of(&[1, 2, 3]));
    assert_eq!(hash(4, TombstoneRule::Counted), of(&[1, 2, 3]));
}

#[test]
fn the_filter_counts_as_its_steps_say() {
    let row = |main, tombstone| RowKey {
        main: Revision(main),
        sub: 0,
        tombstone,
    };
    let filter = HashFilter {
        revision: Revision(9),
        compacted: Some(Revision(5)),
        rule: TombstoneRule::Skipped,
    };
    assert!(!filter.counts(row(10, false), None, true), "above R");
    assert!(filter.counts(row(7, true), None, true), "above C");
    assert!(filter.counts(row(4, false), None, true), "live below C");
    let newest = Some(row(7, false));
    assert!(!filter.counts(row(4, false), newest, true), "not live");
    assert!(filter.counts(row(4, false), newest, false), "none lives");
    assert!(!filter.counts(row(5, true), None, false), "tombstone at C");
}

#[test]
fn the_rule_follows_the_version() {
    let counted = [
        "3.4.33",
        "3.5.15",
        "v3.5.1",
        "3.3.27",
        "3.4.0-rc.1",
        "2.3.8",
    ];
    let skipped = [
        "3.4.34", "3.5.16", "3.5.33", "3.6.0", "3.7.1", "4.0.0", "", "odd",
    ];
    assert!(counted.map(TombstoneRule::for_version) == [TombstoneRule::Counted; 6]);
    assert!(skipped.map(TombstoneRule::for_version) == [TombstoneRule::Skipped; 8]);
}

/// What real servers said: 3.4.23, 3.5.1, 3.5.35, 3.6.16 and 3.7.3 agree on each of these, after the compaction at C
/// had purged.
#[test]
fn real_servers_said_the_same() {
    let history = Model(vec![
        put(2, 0, "a", "1", (2, 1)),
        put(3, 0, "b", "2", (3, 1)),
        put(4, 0, "a", "3", (2, 2)),
        delete(5, 0, "b"),
        put(6, 0, "c", "5", (6, 1)),
        delete(7, 0, "a"),
        delete(8, 0, "c"),
        put(9, 0, "d", "1", (9, 1)),
        delete(10, 0, "d"),
    ]);
    let said = [
        (6, None, 1_369_071_092),
        (3, None, 1_827_592_406),
        (5, None, 1_125_682_900),
        (6, Some(4), 1_616_913_250),
        (5, Some(4), 1_468_967_122),
        (6, Some(5), 4_167_193_236),
        (8, Some(5), 1_433_721_148),
        (10, Some(5), 3_006_797_964),
        (10, Some(8), 281_922_149),
        (9, Some(8), 2_962_135_069),
    ];
    for (revision, compacted, hash) in said {
        for rule in [TombstoneRule::Counted, TombstoneRule::Skipped] {
            assert_eq!(
                purged(&history, revision, compacted, rule),
                hash,
                "{rule:?}"
            );
        }
    }
}

/// Of keys that one transaction deletes, all from `a` on, and of which it puts `b` again: what 3.4.23 and 3.5.1 said,
/// and what 3.5.35, 3.6.16 and 3.7.3 said.
#[test]
fn real_servers_said_the_same_of_a_key_that_is_deleted_and_put_at_once() {
    let none_kept = Model(vec![
        put(2, 0, "a", "1", (2, 1)),
        put(3, 0, "b", "2", (3, 1)),
        delete(4, 0, "a"),
        delete(4, 1, "b"),
        put(4, 2, "b", "3", (4, 1)),
        put(5, 0, "c", "1", (5, 1)),
    ]);
    let one_kept = Model(vec![
        put(2, 0, "0", "1", (2, 1)),
        put(3, 0, "a", "1", (3, 1)),
        put(4, 0, "b", "2", (4, 1)),
        delete(5, 0, "a"),
        delete(5, 1, "b"),
        put(5, 2, "b", "3", (5, 1)),
    ]);
    let (old, new) = (TombstoneRule::Counted, TombstoneRule::Skipped);
    for (history, revision, compacted, rule, hash) in [
        (&none_kept, 4, Some(2), old, 484_554_489),
        (&none_kept, 4, Some(2), new, 3_409_754_376),
        (&none_kept, 5, Some(2), old, 1_519_335_061),
        (&none_kept, 5, Some(2), new, 1_519_335_061),
        (&one_kept, 5, None, new, 2_831_744_335),
        (&one_kept, 5, Some(3), new, 253_591_937),
        (&one_kept, 5, Some(5), new, 3_788_862_972),
    ] {
        let said = purged(history, revision, compacted, rule);
        assert_eq!(said, hash, "{revision} {compacted:?} {rule:?}");
    }
}

fn put(main: i64, sub: i64, key: &str, value: &str, (created, version): (i64, i64)) -> RowBuf {
    let kv = KeyValue {
        key: key.as_bytes(),
        create_revision: created,
        mod_revision: main,
        version,
        value: value.as_bytes(),
        lease: 0,
    };
    row(main, sub, false, kv.encode())
}

fn delete(main: i64, sub: i64, key: &str) -> RowBuf {
    row(main, sub, true, KeyValue::encode_tombstone(key.as_bytes()))
}

fn row(main: i64, sub: i64, tombstone: bool, value: Vec<u8>) -> RowBuf {
    let main = Revision(main);
    let key = RowKey {
        main,
        sub,
        tombstone,
    };
    let value = value.into();
    RowBuf { key, value }
}

/// The hash after the compaction has purged.
fn purged(history: &Model, revision: i64, compacted: Option<i64>, rule: TombstoneRule) -> u32 {
    let compacted = compacted.map(Revision);
    let floor = compacted.unwrap_or(Revision::ZERO);
    let filter = HashFilter {
        revision: Revision(revision),
        compacted,
        rule,
    };
    stream(&history.compact(floor, rule), floor, filter)
}
