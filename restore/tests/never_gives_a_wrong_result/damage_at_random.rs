//! Any damage to any object, to be restored to any revision.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use revkeep_restore::Kind;
use revkeep_restore::plan::Target;
use revkeep_schemas::Revision;
use tokio::runtime::Runtime;

use super::attempt::{needed, restore_and_tell};
use super::small_vault::{files, vault};

/// A generator of numbers, the same for a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(usual)
}

/// Damages one object, or two that are swapped. Gives them with what they held, and how.
fn inject(dice: &mut Dice, objects: &[PathBuf]) -> (Vec<(PathBuf, Vec<u8>)>, &'static str) {
    let object = dice.one_of(objects).clone();
    let good = fs::read(&object).unwrap();
    let mut bad = good.clone();
    let how = match dice.below(4) {
        0 => {
            bad[dice.below(good.len())] ^= 1 << dice.below(8);
            fs::write(&object, bad).unwrap();
            "flipped"
        }
        1 => {
            bad.truncate(dice.below(good.len()));
            fs::write(&object, bad).unwrap();
            "cut"
        }
        2 => {
            let other = dice.one_of(objects).clone();
            let theirs = fs::read(&other).unwrap();
            if theirs == good {
                return (Vec::new(), "swapped with itself");
            }
            fs::write(&object, &theirs).unwrap();
            fs::write(&other, &good).unwrap();
            return (vec![(object, good), (other, theirs)], "swapped");
        }
        _ => {
            fs::remove_file(&object).unwrap();
            "gone"
        }
    };
    (vec![(object, good)], how)
}

#[test]
fn every_random_damage_is_found() {
    let (seed, cases) = (number("REVKEEP_SEED", 1), number("REVKEEP_CASES", 400));
    let (ours, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vault(ours.path());
    let runtime = Runtime::new().unwrap();
    let target = place.path().join("snapshot.db");
    let attempt = |revision| {
        let wanted = Target::Revision(Revision(revision));
        let result = restore_and_tell(&runtime, ours.path(), wanted, target.clone());
        if result.is_ok() {
            fs::remove_file(&target).unwrap();
        }
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 0, "something stayed beside the target");
        result
    };
    let right: BTreeMap<i64, _> = (2..=36)
        .map(|revision| (revision, attempt(revision).unwrap().0))
        .collect();
    let read: BTreeMap<i64, _> = (2..=36)
        .map(|revision| (revision, needed(&runtime, ours.path(), revision)))
        .collect();
    let objects = files(ours.path());
    let mut dice = Dice(seed);
    let mut told = BTreeMap::<String, u64>::new();
    let mut injected = 0;
    while injected < cases {
        let revision = 2 + i64::try_from(dice.below(35)).unwrap();
        let (damaged, how) = inject(&mut dice, &objects);
        if damaged.is_empty() {
            continue;
        }
        injected += 1;
        let relative = |path: &Path| path.strip_prefix(ours.path()).unwrap().to_path_buf();
        let names: Vec<_> = damaged
            .iter()
            .map(|(path, _)| relative(path).display().to_string())
            .collect();
        let case = format!("seed {seed}, number {injected}: {names:?} {how}, to {revision}");
        // What is listed and gone leaves no trace but a hole.
        let listed = |name: &String| {
            ["/bases/", "/segments/", "/gaps/"]
                .iter()
                .any(|folder| name.contains(folder))
        };
        let is_read = names.iter().any(|name| read[&revision].contains(name));
        let must_be_found = is_read && !(how == "gone" && names.iter().all(listed));
        let tells = |said: &str| names.iter().any(|name| said.contains(name.as_str()));
        let outcome = match attempt(revision) {
            Ok((rows, notes)) => {
                assert!(rows == right[&revision], "{case}: another result");
                let found = notes.iter().any(|note| tells(note));
                assert!(found || !must_be_found, "{case}: not found; {notes:?}");
                if found {
                    "gone around, named"
                } else {
                    "not needed"
                }
            }
            Err(error) => {
                let said = error.to_string();
                let hole = matches!(error.kind(), Kind::Gap | Kind::OutsideCoverage);
                let foreign = names.iter().any(|name| name == "FORMAT");
                assert!(tells(&said) || hole || foreign, "{case}: {said}");
                assert!(error.kind() != Kind::Failed, "{case}: {said}");
                if hole {
                    "refused: a hole"
                } else {
                    "refused, named"
                }
            }
        };
        *told.entry(format!("{how}: {outcome}")).or_default() += 1;
        for (path, good) in damaged {
            fs::write(path, good).unwrap();
        }
    }
    eprintln!("{injected} injections, seed {seed}: {told:#?}");
    for how in ["flipped", "cut", "swapped", "gone"] {
        for outcome in ["gone around, named", "refused, named"] {
            let count = told.get(&format!("{how}: {outcome}")).copied();
            assert!(count > Some(0), "{how}: {outcome}: never; {told:#?}");
        }
    }
}
