//! A range of keys, as requests name it.

use std::ops::Bound;

/// Both ends, as a tree takes them.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span<'a> {
    /// This key alone.
    One(&'a [u8]),
    /// From the first up to but without the second.
    Between(&'a [u8], &'a [u8]),
    /// From this key to the last.
    From(&'a [u8]),
}

impl<'a> Span<'a> {
    /// etcd's `key` and `range_end`: an empty end is one key, one zero byte no end.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::From(key),
            end => Self::Between(key, end),
        }
    }

    /// The bounds after a key that was already visited, or `None` when no key can be left.
    pub(crate) fn bounds(self, after: Option<&'a [u8]>) -> Option<Bounds<'a>> {
        let (first, end) = match self {
            Self::One(key) => (key, Bound::Included(key)),
            Self::Between(key, end) if key < end => (key, Bound::Excluded(end)),
            Self::Between(..) => return None,
            Self::From(key) => (key, Bound::Unbounded),
        };
        match after {
            None => Some((Bound::Included(first), end)),
            // Also keeps the bounds from crossing, which a tree does not forgive.
            Some(_) if matches!(self, Self::One(_)) => None,
            Some(after) => Some((Bound::Excluded(after), end)),
        }
    }
}
