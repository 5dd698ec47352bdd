use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn filter<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> KeyFilter {
    let mut builder = KeyFilterBuilder::default();
    keys.into_iter().for_each(|key| builder.add(key));
    builder.finish().unwrap()
}

proptest! {
    #[test]
    fn no_key_and_no_beginning_is_ever_denied(keys in btree_set("[a/]{0,12}", 0..400), cut in 0usize..12) {
        let all = filter(keys.iter().map(String::as_bytes));
        for key in &keys {
            let key = key.as_bytes();
            prop_assert!(all.may_hold(key));
            prop_assert!(all.may_hold_prefix(&key[..cut.min(key.len())]));
        }
        let again = KeyFilter::decode(&all.encode().into()).unwrap().unwrap();
        prop_assert_eq!(again, all);
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        for kind in [None, Some(1)] {
            if let (Some(kind), Some(first)) = (kind, bytes.first_mut()) {
                *first = kind;
            }
            if let Ok(Some(filter)) = KeyFilter::decode(&bytes.clone().into()) {
                filter.may_hold(b"/a/b");
            }
        }
    }
}

#[test]
fn it_is_small_and_seldom_wrong() {
    let key = |n: u32| format!("/registry/pods/namespace-{:03}/pod-{n:08}", n % 500);
    for entries in [1, 2, 10, 100, 1000, 20_000] {
        let keys: Vec<_> = (0..entries).map(key).collect();
        let filter = filter(keys.iter().map(String::as_bytes));
        // A whole key each, and up to 503 beginnings.
        let known = entries + 3 + entries.min(500);
        assert!(
            filter.encode().len() < known as usize * 3 + 200,
            "{entries}"
        );
        let wrong = (entries..entries + 100_000)
            .filter(|n| filter.may_hold(key(*n).as_bytes()))
            .count();
        assert!(wrong < 20, "{entries}: {wrong} of 100,000");
    }
    let keys: Vec<_> = (0..20_000).map(key).collect();
    let filter = filter(keys.iter().map(String::as_bytes));
    assert!(filter.may_hold_prefix(b"/registry/pods/namespace-499/pod-1"));
    assert!(filter.may_hold_prefix(b"/registry/pods/namespace-4"));
    assert!(!filter.may_hold_prefix(b"/registry/pods/namespace-999/"));
    assert!(!filter.may_hold_prefix(b"/registry/secrets/"));
}

#[test]
fn a_later_kind_of_filter_is_as_good_as_none() {
    let mut bytes = filter([b"k".as_slice()]).encode();
    bytes[0] = 2;
    assert_eq!(KeyFilter::decode(&bytes.into()).unwrap(), None);
}
