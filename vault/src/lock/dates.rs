//! Which date an object is due. Pure: the same rule, time and date give the same answer.

use chrono::{DateTime, Utc};

use super::rule::{Lock, Retention};

/// What one object is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A date.
    Date(Retention),
    /// Its mode is to be stricter. A store may refuse that; then this renews it in the mode that it has, if that is due.
    Stricter {
        /// What is wanted.
        wanted: Retention,
        /// What is renewed when that is refused; `None` where the date is long enough.
        renewed: Option<Retention>,
    },
}

/// What an object is due on which `found` was found; `None` where that is long enough and strict enough.
pub(crate) fn due(lock: &Lock, now: DateTime<Utc>, found: Option<Retention>) -> Option<Due> {
    let fresh = Retention {
        mode: lock.mode,
        until: lock.until(now),
    };
    // A date that has passed holds nothing.
    let Some(found) = found.filter(|found| found.until > now) else {
        return Some(Due::Date(fresh));
    };
    let renewed = Retention {
        mode: found.mode,
        until: fresh.until.max(found.until),
    };
    let renewed = (!lock.is_long(found.until, now)).then_some(renewed);
    if found.mode < lock.mode {
        return Some(Due::Stricter {
            wanted: Retention {
                mode: lock.mode,
                until: renewed.unwrap_or(found).until,
            },
            renewed,
        });
    }
    renewed.map(Due::Date)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::super::rule::LockMode;
    use super::*;

    fn modes() -> impl Strategy<Value = LockMode> {
        prop_oneof![Just(LockMode::Governance), Just(LockMode::Compliance)]
    }

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00.250Z".parse().unwrap()
    }

    proptest! {
        /// Whatever is found: nothing that is set is earlier or weaker than it, and what holds afterwards is long enough.
        #[test]
        fn no_date_gets_earlier_and_each_is_long_enough_afterwards(
            mode in modes(), days in 1..4000_i64,
            found in proptest::option::of((modes(), -10_000_000..400_000_000_i64)),
        ) {
            let lock = Lock { mode, length: TimeDelta::days(days) };
            let found = found.map(|(mode, seconds)| Retention { mode, until: now() + TimeDelta::seconds(seconds) });
            let holding = found.filter(|found| found.until > now());
            let enough = |after: Retention| lock.is_long(after.until, now())
                && holding.is_none_or(|found| after.until >= found.until && after.mode >= found.mode);
            match due(&lock, now(), found) {
                None => {
                    let found = holding.unwrap();
                    prop_assert!(enough(found) && found.mode >= mode);
                }
                Some(Due::Date(set)) => {
                    prop_assert!(enough(set) && set.mode >= mode && set.until >= now() + lock.length);
                    prop_assert!(holding.is_none_or(|found| !lock.is_long(found.until, now())));
                }
                Some(Due::Stricter { wanted, renewed }) => {
                    prop_assert!(enough(wanted) && wanted.mode == mode);
                    let found = holding.unwrap();
                    prop_assert!(found.mode < mode && enough(renewed.unwrap_or(found)));
                    prop_assert!(renewed.is_none_or(|renewed| renewed.mode == found.mode));
                }
            }
        }
    }

    #[test]
    fn a_date_is_renewed_when_less_than_half_is_left() {
        let lock = Lock {
            mode: LockMode::Governance,
            length: TimeDelta::days(14),
        };
        let left = |left: TimeDelta| {
            let found = Retention {
                mode: LockMode::Governance,
                until: now() + left,
            };
            due(&lock, now(), Some(found))
        };
        let until = "2026-03-15T12:00:01Z".parse().unwrap();
        let fresh = Some(Due::Date(Retention {
            mode: LockMode::Governance,
            until,
        }));
        assert_eq!(due(&lock, now(), None), fresh);
        assert_eq!(left(TimeDelta::days(7)), None);
        assert_eq!(left(TimeDelta::days(7) - TimeDelta::seconds(1)), fresh);
        assert_eq!(left(TimeDelta::days(-1)), fresh);
        assert_eq!(left(TimeDelta::days(900)), None);
    }
}
