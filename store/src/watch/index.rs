//! Which watchers a key concerns, found without looking at the others.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::KeyRange;

/// Maps ranges of keys to what watches them. Finding the watchers of a key costs one look-up for those of single keys, and
/// the logarithm of the number of different ranges, plus what is found, for the others.
#[derive(Debug)]
pub(super) struct RangeIndex<T> {
    keys: HashMap<Bytes, Vec<T>>,
    ranges: Tree<T>,
}

impl<T: Copy + PartialEq + Hash> RangeIndex<T> {
    /// Nothing yet. Who foresees `seed` can choose ranges that are slow to find.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            keys: HashMap::new(),
            ranges: Tree {
                root: None,
                random: SmallRng::seed_from_u64(seed),
            },
        }
    }

    pub(super) fn insert(&mut self, range: &KeyRange, watcher: T) {
        match range {
            KeyRange::Key(key) => self.keys.entry(key.clone()).or_default().push(watcher),
            KeyRange::Range { begin, end } => {
                let place = Place { begin, end };
                self.ranges.insert(&place, watcher);
            }
        }
    }

    /// Removes one; the range must be that of its insertion.
    pub(super) fn remove(&mut self, range: &KeyRange, watcher: T) {
        match range {
            KeyRange::Key(key) => {
                if let Some(watchers) = self.keys.get_mut(key) {
                    forget(watchers, &watcher);
                    if watchers.is_empty() {
                        self.keys.remove(key);
                    }
                }
            }
            KeyRange::Range { begin, end } => self.ranges.remove(&Place { begin, end }, watcher),
        }
    }

    /// Calls `found` for everything whose range holds `key`.
    pub(super) fn each(&self, key: &[u8], mut found: impl FnMut(T)) {
        if let Some(watchers) = self.keys.get(key) {
            watchers.iter().copied().for_each(&mut found);
        }
        self.ranges.each(key, &mut found);
    }
}

fn forget<T: PartialEq>(watchers: &mut Vec<T>, watcher: &T) {
    if let Some(place) = watchers.iter().position(|other| other == watcher) {
        watchers.swap_remove(place);
    }
}

/// What orders the tree: where a range begins, then where it ends; no end comes last.
struct Place<'a> {
    begin: &'a Bytes,
    end: &'a Option<Bytes>,
}

/// A treap of ranges by their begin, in which every node knows how far its subtree reaches: a binary search tree that
/// random priorities keep balanced (Seidel and Aragon, 1996), augmented as an interval tree.
#[derive(Debug)]
struct Tree<T> {
    root: Link<T>,
    random: SmallRng,
}

type Link<T> = Option<Box<Node<T>>>;

#[derive(Debug)]
struct Node<T> {
    begin: Bytes,
    end: Option<Bytes>,
    watchers: Vec<T>,
    priority: u64,
    /// The largest end in this subtree.
    reach: Option<Bytes>,
    left: Link<T>,
    right: Link<T>,
}

fn compare_ends(a: Option<&Bytes>, b: Option<&Bytes>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(b),
    }
}

impl<T> Node<T> {
    fn order(&self, place: &Place<'_>) -> Ordering {
        place
            .begin
            .cmp(&self.begin)
            .then_with(|| compare_ends(place.end.as_ref(), self.end.as_ref()))
    }

    fn update(&mut self) {
        let mut reach = &self.end;
        for child in [&self.left, &self.right].into_iter().flatten() {
            if compare_ends(child.reach.as_ref(), reach.as_ref()).is_gt() {
                reach = &child.reach;
            }
        }
        self.reach = reach.clone();
    }
}

impl<T: Copy + PartialEq> Tree<T> {
    fn insert(&mut self, place: &Place<'_>, watcher: T) {
        if let Some(node) = find(&mut self.root, place) {
            node.watchers.push(watcher);
            return;
        }
        // Priorities that nobody can foresee, so that no order of ranges makes a list of the tree.
        let node = Node {
            begin: place.begin.clone(),
            end: place.end.clone(),
            watchers: vec![watcher],
            priority: self.random.random(),
            reach: place.end.clone(),
            left: None,
            right: None,
        };
        let (left, right) = split(self.root.take(), place);
        self.root = merge(merge(left, Some(Box::new(node))), right);
    }

    fn remove(&mut self, place: &Place<'_>, watcher: T) {
        let Some(node) = find(&mut self.root, place) else {
            return;
        };
        forget(&mut node.watchers, &watcher);
        if node.watchers.is_empty() {
            self.root = without(self.root.take(), place);
        }
    }

    fn each(&self, key: &[u8], found: &mut impl FnMut(T)) {
        let mut waiting: Vec<&Node<T>> = self.root.as_deref().into_iter().collect();
        while let Some(node) = waiting.pop() {
            if node.reach.as_ref().is_some_and(|reach| reach[..] <= *key) {
                continue;
            }
            waiting.extend(node.left.as_deref());
            if node.begin[..] <= *key {
                if node.end.as_ref().is_none_or(|end| end[..] > *key) {
                    node.watchers.iter().copied().for_each(&mut *found);
                }
                waiting.extend(node.right.as_deref());
            }
        }
    }
}

fn find<'a, T>(link: &'a mut Link<T>, place: &Place<'_>) -> Option<&'a mut Node<T>> {
    let node = link.as_deref_mut()?;
    match node.order(place) {
        Ordering::Less => find(&mut node.left, place),
        Ordering::Greater => find(&mut node.right, place),
        Ordering::Equal => Some(node),
    }
}

/// The nodes before `place`, and those at or behind it.
fn split<T>(link: Link<T>, place: &Place<'_>) -> (Link<T>, Link<T>) {
    let Some(mut node) = link else {
        return (None, None);
    };
    if node.order(place).is_gt() {
        let (left, right) = split(node.right.take(), place);
        node.right = left;
        node.update();
        (Some(node), right)
    } else {
        let (left, right) = split(node.left.take(), place);
        node.left = right;
        node.update();
        (left, Some(node))
    }
}

/// Joins two trees, all of the first before all of the second.
fn merge<T>(first: Link<T>, second: Link<T>) -> Link<T> {
    match (first, second) {
        (None, link) | (link, None) => link,
        (Some(mut first), Some(mut second)) => {
            if first.priority > second.priority {
                first.right = merge(first.right.take(), Some(second));
                first.update();
                Some(first)
            } else {
                second.left = merge(Some(first), second.left.take());
                second.update();
                Some(second)
            }
        }
    }
}

fn without<T>(link: Link<T>, place: &Place<'_>) -> Link<T> {
    let mut node = link?;
    match node.order(place) {
        Ordering::Less => node.left = without(node.left.take(), place),
        Ordering::Greater => node.right = without(node.right.take(), place),
        Ordering::Equal => return merge(node.left.take(), node.right.take()),
    }
    node.update();
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(begin: u8, end: u8) -> KeyRange {
        let begin = Bytes::copy_from_slice(&[begin]);
        match end {
            0 => KeyRange::Key(begin),
            1 => KeyRange::Range { begin, end: None },
            end => KeyRange::Range {
                begin,
                end: Some(Bytes::copy_from_slice(&[end])),
            },
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..12, 0_u8..12), 1..80),
        ) {
            let mut index = RangeIndex::new(7);
            let mut scan: Vec<(KeyRange, usize)> = Vec::new();
            for (number, (insert, begin, end)) in steps.into_iter().enumerate() {
                if insert || scan.is_empty() {
                    index.insert(&range(begin, end), number);
                    scan.push((range(begin, end), number));
                } else {
                    let (range, watcher) = scan.swap_remove(usize::from(begin) % scan.len());
                    index.remove(&range, watcher);
                }
                for key in 0..14 {
                    let mut found = Vec::new();
                    index.each(&[key], |watcher| found.push(watcher));
                    found.sort_unstable();
                    let mut expected: Vec<_> = scan
                        .iter()
                        .filter(|(range, _)| range.contains(&[key]))
                        .map(|(_, watcher)| *watcher)
                        .collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn the_tree_stays_shallow_whatever_the_order() {
        fn depth<T>(node: Option<&Node<T>>) -> usize {
            node.map_or(0, |node| {
                1 + depth(node.left.as_deref()).max(depth(node.right.as_deref()))
            })
        }
        let mut index = RangeIndex::new(7);
        for number in 0..10_000_u32 {
            let begin = Bytes::copy_from_slice(&number.to_be_bytes());
            let end = Some(Bytes::copy_from_slice(&(number + 1).to_be_bytes()));
            index.insert(&KeyRange::Range { begin, end }, number);
        }
        assert!(depth(index.ranges.root.as_deref()) < 60);
        let mut found = Vec::new();
        index.each(&4711_u32.to_be_bytes(), |watcher| found.push(watcher));
        assert_eq!(found, [4711]);
    }
}
