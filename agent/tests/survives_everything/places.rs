//! The places in the code at which an agent can be ended: read from the sources, so that none is forgotten.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use revkeep_harness::workspace_root;

const MARK: &str = "fail_point::reached(\"";

/// What has to happen so that a place is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// It is passed in any life that has a base.
    Nothing,
    /// The first life in an empty vault.
    EmptyVault,
    /// A base is taken.
    Base,
    /// The store fails.
    BadStore,
    /// The source compacts what is not captured.
    Gap,
    /// The agent is asked to end.
    Stop,
}

/// A named place.
pub(crate) type Place = &'static str;

pub(crate) fn needs(place: Place) -> Needs {
    match place {
        "snapshot.handed-over" => Needs::EmptyVault,
        "object.reading-back" => Needs::BadStore,
        _ => match place.split('.').next() {
            Some("vault" | "timeline") => Needs::EmptyVault,
            Some("snapshot" | "base") => Needs::Base,
            Some("spool") => Needs::BadStore,
            Some("gap") => Needs::Gap,
            Some("stop") => Needs::Stop,
            _ => Needs::Nothing,
        },
    }
}

/// All places, sorted.
pub(crate) struct Places(Vec<Place>);

impl Places {
    /// Reads the agent's and the vault's sources.
    pub(crate) fn read() -> Result<Self> {
        let mut found = BTreeSet::new();
        for folder in ["agent/src", "vault/src"] {
            collect(&workspace_root().join(folder), &mut found)?;
        }
        ensure!(found.len() > 20, "only {found:?} were found in the sources");
        // They live as long as the test.
        let places = found.into_iter().map(|name| &*name.leak());
        Ok(Self(places.collect()))
    }

    /// Those that are not among `others`.
    pub(crate) fn but(&self, others: &BTreeSet<Place>) -> Vec<Place> {
        let places = self.0.iter().copied();
        places.filter(|place| !others.contains(place)).collect()
    }

    /// Those that are the turn of a run: one for an empty vault, and some others. Runs one after the other have them all.
    pub(crate) fn turn(&self, seed: u64) -> Vec<Place> {
        const OTHERS: usize = 3;
        let at = usize::try_from(seed % 1_000_000_007).unwrap_or_default();
        let (first, later): (Vec<Place>, Vec<Place>) = self
            .0
            .iter()
            .partition(|place| matches!(needs(place), Needs::EmptyVault | Needs::Base));
        let of = |places: &[Place], at: usize| places.get(at % places.len().max(1)).copied();
        let others = (0..OTHERS).filter_map(|n| of(&later, at * OTHERS + n));
        of(&first, at).into_iter().chain(others).collect()
    }
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let marks = text.split(MARK).skip(1);
            found.extend(marks.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    Ok(())
}
