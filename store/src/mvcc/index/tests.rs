//! The index by its own, on small histories.

use super::{Change, History, KeyTree, Span};

fn put(main: i64, sub: u32) -> Change {
    Change {
        main,
        sub,
        tombstone: false,
    }
}

fn tombstone(main: i64, sub: u32) -> Change {
    Change {
        main,
        sub,
        tombstone: true,
    }
}

/// A key put at 2 and 4, deleted at 6, put again at 8.
fn history() -> History {
    let mut history = History::new(put(2, 0), 2, 1);
    history.push(put(4, 0), 2, 2);
    history.push(tombstone(6, 1), 0, 0);
    history.push(put(8, 0), 8, 1);
    history
}

#[test]
fn a_key_is_found_as_it_was_at_each_revision() {
    let history = history();
    let found: Vec<_> = (1..=9).map(|at| history.at(at)).collect();
    let expected = [
        None,
        Some(put(2, 0)),
        Some(put(2, 0)),
        Some(put(4, 0)),
        Some(put(4, 0)),
        None,
        None,
        Some(put(8, 0)),
        Some(put(8, 0)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn compaction_keeps_the_live_row_and_a_tombstone_exactly_there() {
    let kept_at = |at| {
        let mut history = history();
        let mut kept = Vec::new();
        assert!(history.compact(at, &mut kept));
        for later in at..=9 {
            assert_eq!(
                history.at(later),
                self::history().at(later),
                "at {later} after {at}"
            );
        }
        kept
    };
    assert_eq!(kept_at(1), []);
    assert_eq!(kept_at(3), [put(2, 0)]);
    assert_eq!(kept_at(5), [put(4, 0)]);
    assert_eq!(kept_at(6), [tombstone(6, 1)]);
    assert_eq!(kept_at(7), []);
    assert_eq!(kept_at(9), [put(8, 0)]);
}

#[test]
fn a_deleted_key_leaves_with_the_compaction_after_its_tombstone() {
    let mut history = History::new(put(2, 0), 2, 1);
    history.push(tombstone(3, 0), 0, 0);
    let mut kept = Vec::new();
    assert!(history.compact(3, &mut kept));
    assert_eq!(kept, [tombstone(3, 0)]);
    kept.clear();
    assert!(!history.compact(4, &mut kept));
    assert_eq!(kept, []);
}

#[test]
fn a_key_deleted_and_put_again_in_the_compact_revision_lives() {
    let mut history = History::new(put(2, 0), 2, 1);
    history.push(tombstone(5, 0), 0, 0);
    history.push(put(5, 1), 5, 1);
    let mut kept = Vec::new();
    assert!(history.compact(5, &mut kept));
    assert_eq!(kept, [tombstone(5, 0), put(5, 1)]);
    assert_eq!(history.at(5), Some(put(5, 1)));
}

#[test]
fn what_was_pushed_can_be_taken_back() {
    let mut one = history();
    let before = one.push(tombstone(9, 0), 0, 0);
    assert!(one.pop(before.0, before.1));
    assert_eq!(one.live(), Some((8, 1)));
    assert_eq!(one.at(9), Some(put(8, 0)));
    let mut fresh = History::new(put(9, 0), 9, 1);
    assert!(!fresh.pop(0, 0), "a key without rows is no key");
}

#[test]
fn a_walk_in_pieces_misses_nothing() {
    let count = super::KEYS_AT_ONCE * 2 + 7;
    let key = |number: usize| Box::from(format!("{number:09}").as_bytes());
    let tree = KeyTree::from_keys((0..count).map(|n| (key(n), History::new(put(2, 0), 2, 1))));
    let visit = |span: Span<'_>| {
        let (mut seen, mut after) = (Vec::new(), None::<Box<[u8]>>);
        loop {
            after = tree.visit(span, after.as_deref(), |key, _| seen.push(key.to_vec()));
            if after.is_none() {
                return seen;
            }
        }
    };
    assert_eq!(visit(Span::From(b"")).len(), count);
    assert_eq!(visit(Span::Between(b"000000001", b"000000004")).len(), 3);
    assert_eq!(visit(Span::One(b"000000001")).len(), 1);
    assert!(visit(Span::Between(b"2", b"1")).is_empty());
    assert!(visit(Span::Between(b"1", b"1")).is_empty());
}
