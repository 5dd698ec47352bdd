//! What went wrong with single objects, told from what is wrong with the store.

use super::kept::Kept;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::Damage;

/// When so many objects in a row failed for want of an answer, the store is away: each of the others would be waited for as
/// long, and none would get a date.
const AWAY: usize = 64;

/// The objects that failed so far.
#[derive(Debug, Default)]
pub(super) struct Failures {
    found: Vec<Damage>,
    unanswered: usize,
}

impl Failures {
    /// The store answered for an object.
    pub(super) fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// Notes what is wrong with one object: a date that cannot be read or set keeps no other from being renewed.
    ///
    /// # Errors
    /// The error itself where it is of all objects: no dates can be used here at all, or the store is away.
    pub(super) fn note(&mut self, object: &Kept, error: VaultError) -> Result<(), VaultError> {
        match error.kind() {
            ErrorKind::Refused => self.unanswered = 0,
            ErrorKind::Retry if self.unanswered + 1 < AWAY => self.unanswered += 1,
            _ => return Err(error),
        }
        self.found.push(Damage {
            name: object.name.clone(),
            reason: error.to_string(),
        });
        Ok(())
    }

    /// All of them, by name.
    pub(super) fn sorted(mut self) -> Vec<Damage> {
        self.found.sort_by(|a, b| a.name.cmp(&b.name));
        self.found
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn noted(failures: &mut Failures, kind: ErrorKind) -> Result<(), ErrorKind> {
        let object = Kept {
            name: "a".to_owned(),
            stored: DateTime::UNIX_EPOCH,
            bytes: 1,
        };
        let noted = failures.note(&object, VaultError::new(kind, "so it is"));
        noted.map_err(|error| error.kind())
    }

    #[test]
    fn what_fails_of_all_objects_ends_it_and_what_fails_of_some_does_not() {
        let mut failures = Failures::default();
        for _ in 0..3 * AWAY {
            assert_eq!(noted(&mut failures, ErrorKind::Refused), Ok(()));
        }
        // Some in a row, with answers between them.
        for _ in 0..3 {
            for _ in 1..AWAY {
                assert_eq!(noted(&mut failures, ErrorKind::Retry), Ok(()));
            }
            failures.answered();
        }
        for kind in [ErrorKind::Config, ErrorKind::Internal] {
            assert_eq!(noted(&mut failures, kind), Err(kind));
        }
        for _ in 1..AWAY {
            assert_eq!(noted(&mut failures, ErrorKind::Retry), Ok(()));
        }
        assert_eq!(
            noted(&mut failures, ErrorKind::Retry),
            Err(ErrorKind::Retry)
        );
        assert_eq!(failures.sorted().len(), 3 * AWAY + 4 * (AWAY - 1));
    }
}
