//! The order in which etcd leaves keys that are equal by what they are sorted by.
//!
//! etcd sorts a range with Go's `sort.Sort`, which is not stable: where keys tie, and a limit then cuts, the algorithm
//! decides which keys an answer holds. It is deterministic, so the same algorithm gives the same answer. It is
//! pattern-defeating quicksort (Orson Peters, arXiv 2106.05123) with the parameters that Go has had since 1.19 (Go,
//! `src/sort/zsortinterface.go`): insertion sort up to 12 elements, a median of three or of three medians, early ends for
//! what is nearly sorted, and heap sort after too many lopsided splits.

use std::cmp::Ordering;

/// Up to this length insertion sort is all there is; it is stable.
const SHORT: usize = 12;
/// From this length on the pivot is a median of medians, and misplaced elements are worth moving one by one.
const LONG: usize = 50;
/// How many misplaced elements are moved before the range counts as not nearly sorted.
const MOVES: usize = 5;
/// The comparisons that all three medians and the one of them make: all of them the other way round mean descending.
const ALL_DESCENDING: usize = 12;

/// Sorts as Go's `sort.Sort` does.
pub(super) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let bad_splits_allowed = bits(items.len());
    let end = items.len();
    Sorting { items, compare }.sort(0, end, bad_splits_allowed);
}

/// The number of bits that a length takes.
fn bits(length: usize) -> u32 {
    usize::BITS - length.leading_zeros()
}

struct Sorting<'a, T, F> {
    items: &'a mut [T],
    compare: F,
}

/// What the choice of a pivot tells about a range.
#[derive(PartialEq)]
enum Looks {
    Ascending,
    Descending,
    Mixed,
}

impl<T, F: Fn(&T, &T) -> Ordering> Sorting<'_, T, F> {
    /// Whether one element must stand before another.
    fn less(&self, one: usize, other: usize) -> bool {
        match (self.items.get(one), self.items.get(other)) {
            (Some(one), Some(other)) => (self.compare)(one, other).is_lt(),
            _ => false,
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.items.swap(one, other);
    }

    fn sort(&mut self, mut start: usize, mut end: usize, mut bad_splits_allowed: u32) {
        let (mut was_even, mut was_in_place) = (true, true);
        while end - start > SHORT {
            let length = end - start;
            if bad_splits_allowed == 0 {
                return self.sort_by_heap(start, end);
            }
            if !was_even {
                self.scatter(start, length);
                bad_splits_allowed -= 1;
            }
            let (mut pivot, mut looks) = self.choose_pivot(start, length);
            if looks == Looks::Descending {
                if let Some(range) = self.items.get_mut(start..end) {
                    range.reverse();
                }
                pivot = end - 1 - (pivot - start);
                looks = Looks::Ascending;
            }
            let nearly = was_even && was_in_place && looks == Looks::Ascending;
            if nearly && self.finish_nearly_sorted(start, end) {
                return;
            }
            // Nothing in the range is below what stands before it. Is the pivot no more than that either, then all that
            // equals it has its place.
            if start > 0 && !self.less(start - 1, pivot) {
                start = self.split_off_equal(start, end, pivot);
                continue;
            }
            let middle;
            (middle, was_in_place) = self.split(start, end, pivot);
            let (left, right) = (middle - start, end - middle);
            was_even = left.min(right) >= length / 8;
            // The shorter side first, so that the depth is bounded.
            if left < right {
                self.sort(start, middle, bad_splits_allowed);
                start = middle + 1;
            } else {
                self.sort(middle + 1, end, bad_splits_allowed);
                end = middle;
            }
        }
        for place in start + 1..end.max(start + 1) {
            self.sink(place, start);
        }
    }

    /// Moves an element down as long as it is less than the one before, to `lowest` at most.
    fn sink(&mut self, place: usize, lowest: usize) {
        for place in (lowest + 1..=place).rev() {
            if !self.less(place, place - 1) {
                break;
            }
            self.swap(place, place - 1);
        }
    }

    /// Puts what is less than the pivot before it and the rest after. Returns its new place, and whether nothing but
    /// the pivot had to move.
    fn split(&mut self, start: usize, end: usize, pivot: usize) -> (usize, bool) {
        self.swap(start, pivot);
        // Both inclusive; the pivot waits at the start.
        let (mut low, mut high) = (start + 1, end - 1);
        let mut in_place = true;
        loop {
            while low <= high && self.less(low, start) {
                low += 1;
            }
            while low <= high && !self.less(high, start) {
                high -= 1;
            }
            if low > high {
                break;
            }
            self.swap(low, high);
            low += 1;
            high -= 1;
            in_place = false;
        }
        self.swap(high, start);
        (high, in_place)
    }

    /// In a range without anything less than the pivot, puts what equals it first. Returns where the rest begins.
    fn split_off_equal(&mut self, start: usize, end: usize, pivot: usize) -> usize {
        self.swap(start, pivot);
        let (mut low, mut high) = (start + 1, end - 1);
        loop {
            while low <= high && !self.less(start, low) {
                low += 1;
            }
            while low <= high && self.less(start, high) {
                high -= 1;
            }
            if low > high {
                return low;
            }
            self.swap(low, high);
            low += 1;
            high -= 1;
        }
    }

    /// Sorts a range in which few elements are misplaced. Returns whether that was all it took.
    fn finish_nearly_sorted(&mut self, start: usize, end: usize) -> bool {
        let mut place = start + 1;
        for _ in 0..MOVES {
            while place < end && !self.less(place, place - 1) {
                place += 1;
            }
            if place == end {
                return true;
            }
            if end - start < LONG {
                return false;
            }
            self.swap(place, place - 1);
            if place - start >= 2 {
                // Past the start if need be: what stands there is not less.
                self.sink(place - 1, 0);
            }
            if end - place >= 2 {
                for next in place + 1..end {
                    if !self.less(next, next - 1) {
                        break;
                    }
                    self.swap(next, next - 1);
                }
            }
        }
        false
    }

    /// Moves three elements about the middle to places that only the length decides, to break a pattern that makes bad
    /// pivots.
    fn scatter(&mut self, start: usize, length: usize) {
        let mut random = length as u64;
        let mask = (1_u64 << bits(length)) - 1;
        let middle = start + length / 4 * 2;
        for place in middle - 1..=middle + 1 {
            // Xorshift (George Marsaglia, "Xorshift RNGs", 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut other = usize::try_from(random & mask).unwrap_or_default();
            if other >= length {
                other -= length;
            }
            self.swap(place, start + other);
        }
    }

    fn choose_pivot(&self, start: usize, length: usize) -> (usize, Looks) {
        let mut exchanged = 0;
        let quarter = length / 4;
        let mut candidates = [1, 2, 3].map(|quarters| start + quarter * quarters);
        if length >= LONG {
            candidates =
                candidates.map(|place| self.median([place - 1, place, place + 1], &mut exchanged));
        }
        let pivot = self.median(candidates, &mut exchanged);
        let looks = match exchanged {
            0 => Looks::Ascending,
            ALL_DESCENDING => Looks::Descending,
            _ => Looks::Mixed,
        };
        (pivot, looks)
    }

    fn median(&self, [one, two, three]: [usize; 3], exchanged: &mut usize) -> usize {
        let mut ordered = |one: usize, other: usize| {
            if self.less(other, one) {
                *exchanged += 1;
                (other, one)
            } else {
                (one, other)
            }
        };
        let (low, high) = ordered(one, two);
        let (high, _) = ordered(high, three);
        ordered(low, high).1
    }

    fn sort_by_heap(&mut self, start: usize, end: usize) {
        let length = end - start;
        for root in (0..=(length - 1) / 2).rev() {
            self.sift_down(root, length, start);
        }
        for last in (0..length).rev() {
            self.swap(start, start + last);
            self.sift_down(0, last, start);
        }
    }

    /// Lets an element of the heap at `start` sink until its children are no greater.
    fn sift_down(&mut self, mut root: usize, length: usize, start: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= length {
                return;
            }
            if child + 1 < length && self.less(start + child, start + child + 1) {
                child += 1;
            }
            if !self.less(start + root, start + child) {
                return;
            }
            self.swap(start + root, start + child);
            root = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    /// Inputs with every kind of pattern, and few values, so that many tie.
    #[test]
    fn it_sorts() {
        for seed in 0..400 {
            let mut random = StdRng::seed_from_u64(seed);
            let length = random.random_range(0..600);
            let values = random.random_range(1..40);
            let mut items: Vec<u32> = (0..length)
                .map(|_| random.random_range(0..values))
                .collect();
            match seed % 4 {
                1 => items.sort_unstable(),
                2 => items.sort_unstable_by(|one, other| other.cmp(one)),
                3 => items = (0..length).map(|n| n.min(length - n)).collect(),
                _ => {}
            }
            let mut expected = items.clone();
            expected.sort_unstable();
            sort_by(&mut items, u32::cmp);
            assert_eq!(items, expected, "seed {seed}");
        }
    }

    #[test]
    fn heap_sort_sorts() {
        let mut items: Vec<u32> = (0..100).map(|n| n * 37 % 101).collect();
        let compare = u32::cmp;
        let mut sorting = Sorting {
            items: &mut items,
            compare,
        };
        sorting.sort_by_heap(10, 100);
        assert!(items[10..].is_sorted());
    }
}
