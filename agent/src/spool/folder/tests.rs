use proptest::prelude::*;
use tempfile::TempDir;

use super::super::testing::{place, segment, segment_of};
use super::*;

fn folder() -> (TempDir, Folder) {
    let state = tempfile::tempdir().unwrap();
    let folder = Folder::open(state.path(), place()).unwrap().unwrap();
    (state, folder)
}

fn file(folder: &Folder, segment: &SealedSegment) -> PathBuf {
    folder
        .own
        .join(name_of(segment.first, segment.last, segment.uid))
}

fn firsts(folder: &Folder) -> Vec<i64> {
    let found = folder.scan().unwrap();
    found.iter().map(|found| found.first.0).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn gives_back_the_bytes_of_the_object_in_the_order_of_revisions() {
    let (state, folder) = folder();
    let segments: Vec<_> = [(100, 120), (2, 50), (51, 99)]
        .into_iter()
        .map(|(first, last)| segment(first, last))
        .collect();
    for segment in &segments {
        folder.write(segment).unwrap();
    }
    drop(folder);
    let folder = Folder::open(state.path(), place()).unwrap().unwrap();
    assert_eq!(firsts(&folder), [2, 51, 100]);
    for segment in &segments {
        let read = folder
            .read(segment.first, segment.last, segment.uid)
            .unwrap();
        assert_eq!(read, *segment);
        folder.remove(segment.first, segment.last, segment.uid);
    }
    assert_eq!(firsts(&folder), [0; 0]);
}

/// It would remove what the owner is writing just now.
#[test]
fn nobody_opens_it_beside_its_owner() {
    let (state, folder) = folder();
    assert!(Folder::open(state.path(), place()).unwrap().is_none());
    let kept = segment(2, 3);
    folder.write(&kept).unwrap();
    // To look into it nobody has to own it.
    let names = Folder::names(state.path(), &place());
    assert_eq!(
        names.iter().map(Name::range).collect::<Vec<_>>(),
        [(kept.first, kept.last)]
    );
    assert_eq!(
        Folder::peek(state.path(), &place(), names[0]).unwrap(),
        kept
    );
    drop(folder);
    assert!(Folder::open(state.path(), place()).unwrap().is_some());
}

#[test]
fn what_an_interrupted_write_left_is_removed() {
    let (_state, folder) = folder();
    let kept = segment(2, 3);
    folder.write(&kept).unwrap();
    let half = segment(4, 5);
    let name = name_of(half.first, half.last, half.uid) + TEMPORARY;
    fs::write(folder.own.join(name), &half.bytes[..100]).unwrap();
    assert_eq!(firsts(&folder), [2]);
    assert_eq!(names(&folder.own).len(), 1);
    assert!(names(&folder.root.join(SET_ASIDE)).is_empty());
}

#[test]
fn what_belongs_elsewhere_is_set_aside() {
    let (_state, folder) = folder();
    let elsewhere = [
        Place {
            vault: VaultId([8; 16]),
            ..place()
        },
        Place {
            cluster: ClusterName::new("other").unwrap(),
            ..place()
        },
        Place {
            timeline: TimelineId(2),
            ..place()
        },
    ];
    for place in &elsewhere {
        folder.write(&segment_of(place, 2, 3, 10)).unwrap();
    }
    // A sound segment under another one's name.
    let (one, other) = (segment(4, 5), segment(6, 7));
    fs::write(file(&folder, &one), &other.bytes).unwrap();
    fs::write(folder.own.join("notes.txt"), "mine").unwrap();
    folder.write(&other).unwrap();
    assert_eq!(firsts(&folder), [6]);
    assert_eq!(names(&folder.root.join(SET_ASIDE)).len(), 5);
    assert_eq!(names(&folder.own).len(), 1);
}

#[test]
fn what_waits_for_another_place_stays_there_and_is_counted() {
    let (state, folder) = folder();
    folder.write(&segment(2, 3)).unwrap();
    assert_eq!(folder.beside().unwrap(), 0);
    drop(folder);
    let other = Place {
        timeline: TimelineId(2),
        ..place()
    };
    let there = Folder::open(state.path(), other).unwrap().unwrap();
    assert_eq!(firsts(&there), [0; 0]);
    assert!(there.beside().unwrap() > 0);
    drop(there);
    let folder = Folder::open(state.path(), place()).unwrap().unwrap();
    assert_eq!(firsts(&folder), [2]);
}

#[test]
fn a_disk_that_fails_leaves_nothing_behind() {
    let (_state, folder) = folder();
    let segment = segment(2, 3);
    // A folder stands where the file is to be: the rename fails.
    fs::create_dir(file(&folder, &segment)).unwrap();
    folder.write(&segment).unwrap_err();
    let left = names(&folder.own);
    assert!(
        left.iter().all(|name| !name.ends_with(TEMPORARY)),
        "{left:?}"
    );
}

/// They hold keys and values of the source, secrets among them.
#[test]
fn nobody_else_may_look_into_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_state, folder) = folder();
    let segment = segment(2, 9);
    folder.write(&segment).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file(&folder, &segment)), 0o600);
    for made in [&folder.root, &folder.own] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No truncated file and no file with a flipped bit is ever given out; it is set aside.
    #[test]
    fn every_bit_counts(cut in any::<bool>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (_state, folder) = folder();
        let segment = segment_of(&place(), 2, 4, 50);
        let mut bytes = segment.bytes.to_vec();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        fs::write(file(&folder, &segment), bytes).unwrap();
        prop_assert!(folder.read(segment.first, segment.last, segment.uid).is_err());
        prop_assert_eq!(firsts(&folder), [0; 0]);
        prop_assert_eq!(names(&folder.root.join(SET_ASIDE)).len(), 1);
    }
}
