//! The continuity of what is read: invariant "contiguous".

use revkeep_schemas::{Revision, RowKey};

use crate::error::{Kind, RestoreError};

/// Checks that rows follow each other without a hole, and finds those that an earlier piece has given already.
///
/// At or below the floor revisions may be missing, since compaction removed their rows. Above it every revision has
/// its rows, numbered from 0.
#[derive(Clone, Debug)]
pub struct Sequence {
    floor: Revision,
    last: Option<RowKey>,
    /// The last revision of the pieces before the current one: what is not above it is a repetition.
    repeated_up_to: Revision,
}

impl Sequence {
    /// Starts before the first row of a base whose compact revision is `floor`.
    #[must_use]
    pub const fn new(floor: Revision) -> Self {
        Self {
            floor,
            last: None,
            repeated_up_to: Revision::ZERO,
        }
    }

    /// Whole revisions of a segment begin, which may overlap with those before.
    pub fn begin_segment(&mut self) {
        self.repeated_up_to = self.position();
    }

    /// The revision up to which everything was seen: the highest one so far, and at least the floor.
    #[must_use]
    pub fn position(&self) -> Revision {
        let last = self.last.map_or(Revision::INITIAL, |last| last.main);
        last.max(self.floor).max(Revision::INITIAL)
    }

    /// Takes the next row's key; `false` means that an earlier piece gave it already.
    ///
    /// # Errors
    /// [`Kind::Gap`] when a revision is missing before it, [`Kind::Verification`] when it is out of order.
    pub fn admit(&mut self, key: RowKey) -> Result<bool, RestoreError> {
        if key.main <= self.repeated_up_to {
            return Ok(false);
        }
        let position = self.position();
        let continues = match self.last {
            Some(last) if key.main == last.main => {
                key.main <= self.floor && key > last || last.sub.checked_add(1) == Some(key.sub)
            }
            Some(last) if key.main < last.main => false,
            _ if key.main <= self.floor => true,
            _ => key.main == position.next() && key.sub == 0,
        };
        if !continues {
            return Err(broken(position, self.last, key));
        }
        self.last = Some(key);
        Ok(true)
    }

    /// Checks that the pieces led to `revision`.
    ///
    /// # Errors
    /// [`Kind::Gap`] when they ended before it.
    pub fn reached(&self, revision: Revision) -> Result<(), RestoreError> {
        if self.position() >= revision {
            return Ok(());
        }
        Err(RestoreError::new(
            Kind::Gap,
            format!(
                "the stored rows end at revision {}, but the manifest promises {revision}: run `revkeep info` and report this vault as damaged",
                self.position()
            ),
        ))
    }
}

fn broken(position: Revision, last: Option<RowKey>, key: RowKey) -> RestoreError {
    if key.main > position.next() {
        return RestoreError::new(
            Kind::Gap,
            format!(
                "revisions {} to {} are missing in the stored rows",
                position.next(),
                key.main.previous()
            ),
        );
    }
    let last = last.map_or_else(
        || "nothing".to_owned(),
        |last| format!("row {}_{}", last.main, last.sub),
    );
    RestoreError::new(
        Kind::Verification,
        format!(
            "row {}_{} follows {last} in the stored rows",
            key.main, key.sub
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(main: i64, sub: i64) -> RowKey {
        RowKey {
            main: Revision(main),
            sub,
            tombstone: false,
        }
    }

    fn kind(sequence: &mut Sequence, main: i64, sub: i64) -> Option<Kind> {
        sequence
            .admit(key(main, sub))
            .err()
            .map(|error| error.kind())
    }

    #[test]
    fn a_fresh_history_begins_at_two() {
        let mut sequence = Sequence::new(Revision::ZERO);
        assert!(sequence.admit(key(2, 0)).unwrap());
        assert!(sequence.admit(key(2, 1)).unwrap());
        assert!(sequence.admit(key(3, 0)).unwrap());
        assert_eq!(sequence.position(), Revision(3));
        assert_eq!(kind(&mut sequence, 5, 0), Some(Kind::Gap));
        assert_eq!(kind(&mut sequence, 3, 2), Some(Kind::Verification));
        assert_eq!(kind(&mut sequence, 4, 1), Some(Kind::Verification));
        assert_eq!(kind(&mut sequence, 2, 0), Some(Kind::Verification));
    }

    #[test]
    fn below_the_floor_revisions_may_be_missing_and_above_not() {
        let mut sequence = Sequence::new(Revision(10));
        for (main, sub) in [(3, 4), (3, 7), (8, 0), (11, 0)] {
            assert!(sequence.admit(key(main, sub)).unwrap(), "{main} {sub}");
        }
        assert_eq!(kind(&mut sequence, 13, 0), Some(Kind::Gap));
        assert_eq!(
            kind(&mut Sequence::new(Revision(10)), 12, 0),
            Some(Kind::Gap)
        );
    }

    #[test]
    fn a_row_that_comes_twice_is_an_error_whatever_its_numbers() {
        let mut sequence = Sequence::new(Revision(10));
        assert!(sequence.admit(key(3, i64::MAX)).unwrap());
        assert_eq!(kind(&mut sequence, 3, i64::MAX), Some(Kind::Verification));
    }

    #[test]
    fn what_an_earlier_piece_gave_is_passed_over() {
        let mut sequence = Sequence::new(Revision::ZERO);
        assert!(sequence.admit(key(2, 0)).unwrap());
        assert!(sequence.admit(key(3, 0)).unwrap());
        sequence.begin_segment();
        assert!(!sequence.admit(key(2, 0)).unwrap());
        assert!(!sequence.admit(key(3, 0)).unwrap());
        assert!(sequence.admit(key(4, 0)).unwrap());
        assert!(sequence.reached(Revision(4)).is_ok());
        assert!(sequence.reached(Revision(5)).is_err());
    }
}
