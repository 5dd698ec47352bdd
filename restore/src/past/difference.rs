//! What two revisions have different.

use std::collections::BTreeMap;

use revkeep_schemas::Revision;

use super::{Selection, Version, View};
use crate::error::RestoreError;
use crate::plan::{History, Target, choose};
use crate::source::Source;

/// A key on one side of a difference.
pub type Side = Version;

/// A key that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// What it was; `None` where it was created.
    pub before: Option<Side>,
    /// What it became; `None` where it was deleted.
    pub after: Option<Side>,
}

/// The difference of two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The revision it starts from.
    pub from: Revision,
    /// The revision it leads to, which may be the older one.
    pub to: Revision,
    /// The keys that differ, in their order. A key that was written with the value that it had counts too.
    pub changes: Vec<Change>,
}

impl Difference {
    /// Finds it. Where what happened between the two is known, only that is read, and of the older side the keys that it
    /// touched; else both sides are.
    ///
    /// # Errors
    /// As [`View::at`] and [`View::get`].
    pub async fn of(
        source: &Source,
        from: Target,
        to: Target,
        selection: &Selection,
    ) -> Result<Self, RestoreError> {
        let (from, to) = (View::at(source, from)?, View::at(source, to)?);
        let (old, new) = if from.revision() <= to.revision() {
            (&from, &to)
        } else {
            (&to, &from)
        };
        let (before, after) = match whole_between(source, old, new)? {
            Some(between) => sides_by_history(old, &between, selection).await?,
            None => (
                by_key(old.get(selection, true).await?),
                by_key(new.get(selection, true).await?),
            ),
        };
        let mut changes = merge(before, after);
        if from.revision() > to.revision() {
            for change in &mut changes {
                std::mem::swap(&mut change.before, &mut change.after);
            }
        }
        Ok(Self {
            from: from.revision(),
            to: to.revision(),
            changes,
        })
    }
}

/// A view of the newer revision that has every row after the older one, if there is any.
fn whole_between(source: &Source, old: &View, new: &View) -> Result<Option<View>, RestoreError> {
    let target = Target::Revision(new.revision());
    let plan = choose(&source.holdings(), target, History::Everything)?;
    if plan.floor() > old.revision() {
        return Ok(None);
    }
    View::of_plan(source, &plan).map(Some)
}

type Sides = (BTreeMap<Vec<u8>, Version>, BTreeMap<Vec<u8>, Version>);

async fn sides_by_history(
    old: &View,
    between: &View,
    selection: &Selection,
) -> Result<Sides, RestoreError> {
    let mut after = between.changed_since(old.revision(), selection).await?;
    let keys: Vec<_> = after.keys().map(Vec::as_slice).collect();
    let before = old.look_up(&keys).await?;
    after.retain(|_, version| !version.is_deletion());
    Ok((before, after))
}

fn by_key(versions: Vec<Version>) -> BTreeMap<Vec<u8>, Version> {
    versions
        .into_iter()
        .map(|version| (version.key.clone(), version))
        .collect()
}

/// The keys whose versions differ.
fn merge(before: BTreeMap<Vec<u8>, Version>, mut after: BTreeMap<Vec<u8>, Version>) -> Vec<Change> {
    let mut changes: BTreeMap<Vec<u8>, Change> = BTreeMap::new();
    for (key, before) in before {
        let after = after.remove(&key);
        if after.as_ref().is_none_or(|after| after.at != before.at) {
            let change = Change {
                key: key.clone(),
                before: Some(before),
                after,
            };
            changes.insert(key, change);
        }
    }
    let created = after.into_iter().map(|(key, after)| {
        let change = Change {
            key: key.clone(),
            before: None,
            after: Some(after),
        };
        (key, change)
    });
    changes.extend(created);
    changes.into_values().collect()
}
