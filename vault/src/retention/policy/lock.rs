//! `lock` and `lock-for`: the dates of one cluster.

use chrono::TimeDelta;
use revkeep_schemas::names::ClusterName;
use serde::Deserialize;

use super::{Policy, RuleSet, Time};
use crate::lock::{Lock, LockMode};

/// A date that is over before the next run protects nothing; and who writes 14m may mean months.
const SHORTEST: TimeDelta = TimeDelta::days(1);
/// More than this Amazon S3 does not take: a hundred years.
const LONGEST: TimeDelta = TimeDelta::days(36_500);

/// What stands after `lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LockWord {
    Governance,
    Compliance,
    /// No dates, for an override of a default that has some.
    Off,
}

impl LockWord {
    fn mode(self) -> Option<LockMode> {
        match self {
            Self::Governance => Some(LockMode::Governance),
            Self::Compliance => Some(LockMode::Compliance),
            Self::Off => None,
        }
    }
}

/// The two keys of one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    lock: Option<LockWord>,
    lock_for: Option<Time>,
}

impl From<&RuleSet> for Keys {
    fn from(rules: &RuleSet) -> Self {
        Self {
            lock: rules.lock,
            lock_for: rules.lock_for,
        }
    }
}

impl Keys {
    fn locks(self) -> bool {
        self.lock.is_some_and(|word| word.mode().is_some())
    }

    /// What is wrong with an override's keys beside those of `[default]`.
    pub(super) fn wrong_beside(self, default: Self) -> Option<&'static str> {
        if self.locks() && self.lock_for.or(default.lock_for).is_none() {
            return Some("lock needs lock-for, such as \"14d\", here or in [default]");
        }
        if self.lock_for.is_some() && self.lock.or(default.lock).is_none() {
            return Some(
                "lock-for needs lock, \"governance\" or \"compliance\", here or in [default]",
            );
        }
        self.wrong_length()
    }

    /// What is wrong with the keys of `[default]`.
    pub(super) fn wrong_default(
        self,
        mut overrides: impl Iterator<Item = Self>,
    ) -> Option<&'static str> {
        if self.locks() && self.lock_for.is_none() {
            return Some("lock needs lock-for, such as \"14d\"");
        }
        if self.lock_for.is_some() && self.lock.is_none() && !overrides.any(Self::locks) {
            return Some("lock-for needs lock: \"governance\" or \"compliance\"");
        }
        self.wrong_length()
    }

    fn wrong_length(self) -> Option<&'static str> {
        let fits = |time: Time| (SHORTEST..=LONGEST).contains(&time.0);
        let wrong = self.lock_for.is_some_and(|time| !fits(time));
        wrong.then_some("lock-for must be from 1d, for it must outlast some runs, to 36500d; months are written 1M, and m is minutes")
    }
}

impl Policy {
    /// The lock of a cluster's objects; `None` where they get no dates.
    pub fn lock(&self, cluster: &ClusterName) -> Option<Lock> {
        let mut keys = Keys::from(&self.default);
        for one in self.overrides_of(cluster) {
            let over = Keys::from(one);
            keys = Keys {
                lock: over.lock.or(keys.lock),
                lock_for: over.lock_for.or(keys.lock_for),
            };
        }
        Some(Lock {
            mode: keys.lock?.mode()?,
            length: keys.lock_for?.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(text: &str, cluster: &str) -> Option<Lock> {
        let policy = Policy::parse("keep.toml", text).unwrap();
        policy.lock(&ClusterName::new(cluster).unwrap())
    }

    fn days(mode: LockMode, days: i64) -> Lock {
        let length = TimeDelta::days(days);
        Lock { mode, length }
    }

    #[test]
    fn a_later_override_counts_key_by_key() {
        let text = "[labels]\ngold = ['prod-*']\n[default]\nlock = 'governance'\nlock-for = '14d'\n[[override]]\n\
                    label = 'gold'\nlock = 'compliance'\n[[override]]\ncluster = '*-eu'\nlock-for = '30d'\n[[override]]\n\
                    cluster = 'test-*'\nlock = 'off'\n";
        assert_eq!(lock(text, "stage"), Some(days(LockMode::Governance, 14)));
        assert_eq!(lock(text, "prod-us"), Some(days(LockMode::Compliance, 14)));
        assert_eq!(lock(text, "prod-eu"), Some(days(LockMode::Compliance, 30)));
        assert_eq!(lock(text, "test-eu"), None);
        assert_eq!(lock("[default]\nwindow = '7d'\n", "stage"), None);
        let one = "[default]\nlock-for = '2d'\n[[override]]\ncluster = 'a'\nlock = 'governance'\n";
        assert_eq!(
            (lock(one, "b"), lock(one, "a")),
            (None, Some(days(LockMode::Governance, 2)))
        );
    }

    #[test]
    fn half_a_lock_is_refused_with_its_place() {
        let wrong = |text: &str| Policy::parse("keep.toml", text).unwrap_err().to_string();
        for (text, place, part) in [
            ("[default]\nlock = 'governance'\n", "2:1", "needs lock-for"),
            ("[default]\nlock-for = '14d'\n", "2:1", "needs lock:"),
            (
                "[default]\nlock = 'governance'\nlock-for = '14m'\n",
                "2:1",
                "from 1d",
            ),
            (
                "[default]\nlock = 'governance'\nlock-for = '200y'\n",
                "2:1",
                "to 36500d",
            ),
            ("[default]\nlock = 'legal'\n", "2:8", "unknown variant"),
            (
                "[[override]]\ncluster = 'a'\nlock = 'compliance'\n",
                "1:1",
                "needs lock-for",
            ),
            (
                "[[override]]\ncluster = 'a'\nlock-for = '3d'\n",
                "1:1",
                "needs lock,",
            ),
            ("[default]\nlokc = 'off'\n", "2:1", "did you mean lock?"),
        ] {
            let said = wrong(text);
            assert!(
                said.starts_with(&format!("keep.toml:{place}: ")),
                "{text}: {said}"
            );
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
