//! Every object, with each kind of damage, one at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use revkeep_restore::Kind;
use revkeep_restore::plan::Target;
use revkeep_schemas::Revision;
use tokio::runtime::Runtime;

use super::attempt::restore;
use super::small_vault::{files, kind, name, vault};

/// Targets that between them need every base and segment of the timeline.
const TARGETS: [i64; 4] = [5, 20, 30, 36];

/// What is done to an object; `None` takes it away.
fn damages(object: &Path, vaults: [&Path; 2]) -> BTreeMap<String, Option<Vec<u8>>> {
    let good = fs::read(object).unwrap();
    let mut all = BTreeMap::new();
    let mut damage = |what: String, bytes: Vec<u8>| {
        if bytes != good {
            all.insert(what, Some(bytes));
        }
    };
    damage("empty".into(), Vec::new());
    damage("zeros".into(), vec![0; good.len()]);
    for len in [1, 15, 16, good.len() / 2, good.len() - 1] {
        damage(
            format!("cut to {len}"),
            good[..len.min(good.len())].to_vec(),
        );
    }
    damage("with a byte more".into(), [&good[..], &[0]].concat());
    damage("twice".into(), [&good[..], &good].concat());
    let places = [0, 8, 10, 11, 12, 17, 20, good.len() / 2, good.len() * 3 / 4];
    for at in places
        .into_iter()
        .chain([66, 33, 8, 1].map(|back| good.len() - back))
    {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        damage(format!("flipped at {at}"), flipped);
    }
    // Everything of its kind that is not it: of the same timeline, of another, of another vault.
    for vault in vaults {
        for other in files(vault) {
            if kind(&other) == kind(object) && other != object {
                let what = format!("replaced by {}", other.display());
                damage(what, fs::read(&other).unwrap());
            }
        }
    }
    all.insert("gone".into(), None);
    all
}

#[test]
fn no_damage_gives_a_wrong_result() {
    let (ours, theirs, place) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    vault(ours.path());
    vault(theirs.path());
    let runtime = Runtime::new().unwrap();
    let target = place.path().join("snapshot.db");
    let attempt = |revision| {
        let revision = Target::Revision(Revision(revision));
        let result = restore(&runtime, ours.path(), revision, target.clone());
        if result.is_ok() {
            fs::remove_file(&target).unwrap();
        }
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 0, "something stayed beside the target");
        result
    };
    let right = TARGETS.map(|revision| attempt(revision).unwrap());
    let (mut harmless, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for object in files(ours.path()) {
        // The other timeline's objects are never looked at, but for its record.
        if object.iter().any(|part| part == "0002") && kind(&object) != "timeline" {
            continue;
        }
        let good = fs::read(&object).unwrap();
        for (what, bytes) in damages(&object, [ours.path(), theirs.path()]) {
            match bytes {
                Some(bytes) => fs::write(&object, bytes).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            for (revision, right) in TARGETS.into_iter().zip(&right) {
                let case = format!("{}: {what}, to revision {revision}", object.display());
                match attempt(revision) {
                    Ok(rows) => {
                        assert!(rows == *right, "{case}: another result");
                        *harmless.entry(kind(&object)).or_insert(0) += 1;
                    }
                    Err(error) => {
                        let said = error.to_string();
                        let newer = matches!(what.as_str(), "flipped at 8" | "flipped at 11");
                        let expected: &[Kind] = match what.as_str() {
                            // What is gone leaves no trace but a hole; only what others name is missed.
                            "gone" => &[
                                Kind::Verification,
                                Kind::NotFound,
                                Kind::Gap,
                                Kind::OutsideCoverage,
                            ],
                            // It says that it is newer, or sealed in another way.
                            _ if newer => &[Kind::Verification, Kind::Invalid],
                            _ => &[Kind::Verification],
                        };
                        assert!(
                            expected.contains(&error.kind()),
                            "{case}: {:?}: {said}",
                            error.kind()
                        );
                        let hole = matches!(error.kind(), Kind::Gap | Kind::OutsideCoverage);
                        // The vault's own record has no double: with another's, everything else is foreign.
                        let foreign = kind(&object) == "FORMAT" && what.starts_with("replaced");
                        assert!(
                            hole || foreign || said.contains(&name(&object)),
                            "{case}: {said}"
                        );
                        let detailed = said.contains("at offset") && said.contains("expected");
                        assert!(
                            detailed || hole || newer || what == "gone",
                            "{case}: {said}"
                        );
                        *refused.entry(kind(&object)).or_insert(0) += 1;
                    }
                }
            }
            fs::write(&object, &good).unwrap();
        }
    }
    // The test would be blind if nothing were needed, or everything.
    for kind in ["FORMAT", "timeline", "chunks", "segments"] {
        assert!(
            refused.get(kind).is_some_and(|count| *count > 10),
            "{kind}: {refused:?}"
        );
    }
    for kind in ["head", "gaps", "bases", "chunks", "segments", "timeline"] {
        assert!(
            harmless.get(kind).is_some_and(|count| *count > 10),
            "{kind}: {harmless:?}"
        );
    }
}
