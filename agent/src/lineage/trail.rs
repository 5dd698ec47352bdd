//! The digests of what was captured, revision by revision near its end and coarser further back, in bounded memory. Pure.

use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::{Revision, Row};

/// Marks that are kept, 32 bytes each.
const MARKS: usize = 32 << 10;
/// The newest marks are never thinned out: what is durable is behind by what is captured within a flush interval, and is recognised
/// by the digest of its last revision alone.
const FINE: usize = 16 << 10;

/// The sum of all rows after the start and up to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    revision: Revision,
    sum: RowDigest,
}

/// What was captured, as digests: of all rows of each range between two marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The first one is the start, with the sum of no row.
    marks: Vec<Mark>,
}

/// Where a trail and other rows differ: in some of the revisions after the first and up to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Up to here they are the same.
    pub after: Revision,
    /// After this one, as far as was compared, they are the same again.
    pub to: Revision,
}

impl Trail {
    /// A trail that begins after a revision.
    #[must_use]
    pub fn after(revision: Revision) -> Self {
        Self {
            marks: vec![Mark {
                revision,
                sum: RowDigest::default(),
            }],
        }
    }

    /// The last revision; `None` when nothing is known.
    #[must_use]
    pub fn last(&self) -> Option<Revision> {
        self.marks.last().map(|mark| mark.revision)
    }

    /// Whether there is a revision to compare with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.len() < 2
    }

    /// Adds a revision. One that does not follow the last begins the trail anew.
    pub fn push(&mut self, revision: Revision, digest: RowDigest) {
        if self.last() != Some(revision.previous()) {
            *self = Self::after(revision.previous());
        }
        let sum = self.marks.last().map(|mark| mark.sum).unwrap_or_default();
        self.marks.push(Mark {
            revision,
            sum: sum.combine(digest),
        });
        if self.marks.len() > MARKS {
            self.thin_out();
        }
    }

    /// Forgets what comes after a revision: what was captured from there on was not kept.
    pub fn cut(&mut self, last: Revision) {
        self.marks.retain(|mark| mark.revision <= last);
        if self.last() != Some(last) {
            *self = Self::after(last);
        }
    }

    /// Every other of the older marks goes; the first stays.
    fn thin_out(&mut self) {
        let fine = self.marks.len().saturating_sub(FINE);
        let mut at = 0;
        self.marks.retain(|_| {
            at += 1;
            at > fine || at % 2 == 1
        });
    }

    /// The digest of one revision alone, where that is known.
    #[must_use]
    pub fn digest_of(&self, revision: Revision) -> Option<RowDigest> {
        let at = self
            .marks
            .binary_search_by_key(&revision, |mark| mark.revision)
            .ok()?;
        let before = self.marks.get(at.checked_sub(1)?)?;
        let mark = self.marks.get(at)?;
        (before.revision == revision.previous()).then(|| mark.sum.without(before.sum))
    }

    /// Compares with rows that come in order, of which all above `compact` and up to `to` must be there.
    #[must_use]
    pub fn check(&self, compact: Revision, to: Revision) -> Check<'_> {
        let from = self.marks.partition_point(|mark| mark.revision < compact);
        let end = self.marks.partition_point(|mark| mark.revision <= to);
        let marks = self.marks.get(from..end).unwrap_or_default();
        Check {
            marks,
            next: 1,
            sum: RowDigest::default(),
            parting: None,
        }
    }
}

/// A comparison of rows with a trail.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    marks: &'a [Mark],
    next: usize,
    sum: RowDigest,
    parting: Option<Parting>,
}

impl Check<'_> {
    /// The range of revisions that is compared: after the first and up to the last. `None` when there is nothing to compare.
    #[must_use]
    pub fn range(&self) -> Option<(Revision, Revision)> {
        let (first, last) = (self.marks.first()?, self.marks.last()?);
        (first.revision < last.revision).then_some((first.revision, last.revision))
    }

    /// Takes the next row.
    pub fn row(&mut self, row: &Row<'_>) {
        self.pass(row.key.main);
        if let Some((after, to)) = self.range()
            && row.key.main > after
            && row.key.main <= to
        {
            self.sum.add(row);
        }
    }

    /// Looks at the marks below a revision.
    fn pass(&mut self, revision: Revision) {
        while let Some(mark) = self.marks.get(self.next)
            && mark.revision < revision
        {
            let before = self.marks.get(self.next.saturating_sub(1));
            let (after, sum) = before
                .map(|mark| (mark.revision, mark.sum))
                .unwrap_or_default();
            if mark.sum.without(sum) != self.sum {
                let after = self.parting.map_or(after, |parting| parting.after);
                let to = mark.revision;
                self.parting = Some(Parting { after, to });
            }
            self.sum = RowDigest::default();
            self.next += 1;
        }
    }

    /// All rows were given: where the two differ, if they do.
    #[must_use]
    pub fn finish(mut self) -> Option<Parting> {
        self.pass(Revision::MAX);
        self.parting
    }
}

/// The digest of rows.
pub(crate) fn digest<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> RowDigest {
    let mut digest = RowDigest::default();
    for row in rows {
        digest.add(&row);
    }
    digest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use revkeep_schemas::RowKey;

    use super::*;

    fn row(main: i64, value: &[u8]) -> Row<'_> {
        Row {
            key: RowKey {
                main: Revision(main),
                sub: 0,
                tombstone: false,
            },
            value,
        }
    }

    fn trail(first: i64, last: i64) -> Trail {
        let mut trail = Trail::default();
        for main in first..=last {
            trail.push(Revision(main), digest([row(main, b"x")]));
        }
        trail
    }

    fn parting(trail: &Trail, compact: i64, rows: &[(i64, &[u8])]) -> Option<Parting> {
        let mut check = trail.check(Revision(compact), Revision(1 << 40));
        for (main, value) in rows {
            check.row(&row(*main, value));
        }
        check.finish()
    }

    proptest! {
        /// Whatever differs above the compact revision is found, and what is the same is passed, for any thinning.
        #[test]
        fn one_row_that_differs_is_found(
            length in 2i64..50_000, at in 0.0f64..1.0, compact in 0.0f64..1.0, how in 0..3,
        ) {
            let (first, last) = (100, 100 + length);
            let trail = trail(first, last);
            prop_assert!(trail.marks.len() <= MARKS);
            let scale = |part: f64| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a draw")]
                let drawn = (part * length as f64) as i64;
                first + drawn
            };
            let (at, compact) = (scale(at), scale(compact));
            let mut rows: Vec<(i64, &[u8])> = (first..=last + 5).map(|main| (main, &b"x"[..])).collect();
            prop_assert_eq!(parting(&trail, compact, &rows), None);
            let place = usize::try_from(at - first).unwrap();
            match how {
                0 => rows[place].1 = b"y",
                1 => { rows.remove(place); }
                _ => rows.insert(place, (at, b"z")),
            }
            let compared = trail.check(Revision(compact), Revision::MAX).range();
            let found = parting(&trail, compact, &rows);
            match compared {
                Some((after, _)) if Revision(at) > after => {
                    let found = found.unwrap();
                    prop_assert!(found.after < Revision(at) && Revision(at) <= found.to);
                }
                _ => prop_assert_eq!(found, None),
            }
        }
    }

    #[test]
    fn the_newest_revisions_are_known_one_by_one() {
        let mut trail = trail(5, 70_000);
        let one = digest([row(70_000, b"x")]);
        assert_eq!(trail.digest_of(Revision(70_000)), Some(one));
        assert!(trail.digest_of(Revision(69_500)).is_some());
        assert_eq!(trail.digest_of(Revision(70_001)), None);
        trail.cut(Revision(69_999));
        assert_eq!(trail.last(), Some(Revision(69_999)));
        assert!(trail.digest_of(Revision(69_999)).is_some());
        trail.cut(Revision(3));
        assert!(trail.is_empty() && trail.last() == Some(Revision(3)));
        trail.push(Revision(9), one);
        assert_eq!(trail.digest_of(Revision(9)), Some(one));
    }
}
