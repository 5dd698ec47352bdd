//! What would be done to a live cluster: decided, not done.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::{LeasePolicy, LiveKeys};
use crate::past::Version;

/// What a key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its value.
    pub value: Bytes,
    /// Its lease, or zero.
    pub lease: i64,
}

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It gets the value that it had.
    Put(Wish),
    /// It goes, because it was not there.
    Delete,
}

/// One key to change, and what it must still be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The key.
    pub key: Vec<u8>,
    /// Its mod revision as the plan saw it; zero where it was not there.
    pub seen: i64,
    /// What is done.
    pub action: Action,
}

impl Step {
    /// About how many bytes it takes in a request.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match &self.action {
            Action::Put(wish) => wish.value.len(),
            Action::Delete => 0,
        };
        // The key stands in the comparison, in what is done, and in what is asked otherwise.
        3 * self.key.len() + value + 64
    }
}

/// What is asked for besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether keys go that were not there.
    pub delete_extra: bool,
    /// What becomes of leases.
    pub leases: LeasePolicy,
}

/// What would be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LivePlan {
    /// The revision of the live cluster that it was decided at.
    pub live_revision: i64,
    /// The keys to change, in their order.
    pub steps: Vec<Step>,
    /// Keys that are what they were; with [`LeasePolicy::Keep`] whatever lease they have now.
    pub unchanged: usize,
    /// Keys that were not there, and stay unless they are to be deleted.
    pub extra: Vec<Vec<u8>>,
}

impl LivePlan {
    /// Compares what was with what is.
    #[must_use]
    pub fn decide(was: Vec<Version>, is: LiveKeys, options: Options) -> Self {
        let mut plan = Self {
            live_revision: is.revision,
            ..Self::default()
        };
        let mut live = is.keys;
        let mut steps = BTreeMap::new();
        for version in was {
            let wish = Wish {
                value: version.value,
                lease: match options.leases {
                    LeasePolicy::Keep => version.lease,
                    LeasePolicy::Drop => 0,
                },
            };
            let now = live.remove(&version.key);
            let same = now.as_ref().is_some_and(|now| match options.leases {
                // Whoever wrote it again holds the lease that it has now; the old one would take the key away.
                LeasePolicy::Keep => wish.value == now.value,
                LeasePolicy::Drop => wish.is(&now.value, now.lease),
            });
            if same {
                plan.unchanged += 1;
                continue;
            }
            let step = Step {
                key: version.key.clone(),
                seen: now.map_or(0, |now| now.mod_revision),
                action: Action::Put(wish),
            };
            steps.insert(version.key, step);
        }
        for (key, now) in live {
            if options.delete_extra {
                let step = Step {
                    key: key.clone(),
                    seen: now.mod_revision,
                    action: Action::Delete,
                };
                steps.insert(key, step);
            } else {
                plan.extra.push(key);
            }
        }
        plan.steps = steps.into_values().collect();
        plan
    }

    /// How many keys are put, and how many are deleted.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let puts = self
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::Put(_)));
        let puts = puts.count();
        (puts, self.steps.len() - puts)
    }

    /// Bytes of the values that are put.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        let bytes = self.steps.iter().map(|step| match &step.action {
            Action::Put(wish) => wish.value.len() as u64,
            Action::Delete => 0,
        });
        bytes.sum()
    }
}

impl Wish {
    /// Whether a key is this already.
    #[must_use]
    pub fn is(&self, value: &[u8], lease: i64) -> bool {
        self.value == value && self.lease == lease
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put(_) => "put",
            Self::Delete => "delete",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use revkeep_schemas::{Revision, RowKey};

    use super::*;
    use crate::live::LiveKey;

    fn version(key: u8, value: u8, lease: i64) -> Version {
        Version {
            key: vec![key],
            at: RowKey {
                main: Revision(5),
                sub: 0,
                tombstone: false,
            },
            create_revision: 5,
            version: 1,
            lease,
            value: vec![value].into(),
        }
    }

    proptest! {
        #[test]
        fn doing_it_gives_what_was(
            was in btree_map(0u8..20, (0u8..3, 0i64..2), 0..15),
            is in btree_map(0u8..20, (0u8..3, 0i64..2, 1i64..99), 0..15),
            delete_extra in any::<bool>(), keep in any::<bool>(),
        ) {
            let leases = if keep { LeasePolicy::Keep } else { LeasePolicy::Drop };
            let live: BTreeMap<_, _> = is.iter().map(|(key, (value, lease, mod_revision))| (vec![*key], LiveKey {
                mod_revision: *mod_revision,
                value: vec![*value].into(),
                lease: *lease,
            })).collect();
            let versions = was.iter().map(|(key, (value, lease))| version(*key, *value, *lease)).collect();
            let keys = LiveKeys { cluster_id: 1, revision: 100, keys: live.clone() };
            let plan = LivePlan::decide(versions, keys, Options { delete_extra, leases });
            let mut after: BTreeMap<_, _> =
                live.iter().map(|(key, live)| (key.clone(), (live.value.clone(), live.lease))).collect();
            for step in &plan.steps {
                prop_assert_eq!(step.seen, live.get(&step.key).map_or(0, |live| live.mod_revision));
                match &step.action {
                    Action::Put(wish) => {
                        let before = after.insert(step.key.clone(), (wish.value.clone(), wish.lease));
                        prop_assert_ne!(&before, &Some((wish.value.clone(), wish.lease)));
                        if keep {
                            prop_assert_ne!(before.map(|before| before.0), Some(wish.value.clone()));
                        }
                    }
                    Action::Delete => prop_assert!(delete_extra && after.remove(&step.key).is_some()),
                }
            }
            for (key, (value, lease)) in &was {
                let now = live.get(&vec![*key]).filter(|now| now.value == [*value][..]);
                // What has its value already keeps the lease that it has by now.
                let lease = if keep { now.map_or(*lease, |now| now.lease) } else { 0 };
                prop_assert_eq!(after.remove(&vec![*key]), Some((Bytes::from(vec![*value]), lease)));
            }
            prop_assert_eq!(after.into_keys().collect::<Vec<_>>(), plan.extra.clone());
            prop_assert_eq!(plan.unchanged + plan.counts().0, was.len());
        }
    }
}
