//! What takes the place of damaged objects, and what must not.

use std::fs;
use std::path::Path;

use revkeep_restore::Kind;
use revkeep_restore::plan::Target;
use revkeep_restore::source::{Source, open_cluster};
use revkeep_schemas::Revision;
use tokio::runtime::Runtime;

use super::attempt::{needed, restore, restore_and_tell};
use super::small_vault::{files, name, segment, vault};

#[test]
fn another_base_and_another_agents_segment_take_the_place_of_damaged_ones() {
    let runtime = Runtime::new().unwrap();
    let (vault_place, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vault(vault_place.path());
    let folder = vault_place.path();
    let attempt = |revision| {
        let target = place.path().join("snapshot.db");
        let wanted = Target::Revision(Revision(revision));
        let result = restore_and_tell(&runtime, folder, wanted, target.clone());
        if result.is_ok() {
            fs::remove_file(target).unwrap();
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        result
    };
    // Damages the rows alone: the manifest and the index stay as they are.
    let spoil = |object: &Path| {
        let mut bytes = fs::read(object).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        fs::write(object, bytes).unwrap();
    };
    let good = attempt(30).unwrap().0;
    let read = needed(&runtime, folder, 30);
    // Bases share chunks: one that the older one does without.
    let older = needed(&runtime, folder, 5);
    let mut chunks = read.iter().filter(|name| name.contains("/chunks/"));
    let chunk = chunks.find(|name| !older.contains(name)).unwrap();
    spoil(&folder.join(chunk));
    let (rows, notes) = attempt(30).unwrap();
    assert!(rows == good, "the older base gave another result");
    let said = notes.join("; ");
    assert!(
        said.contains("went around") && said.contains(chunk.as_str()),
        "{said}"
    );

    // Base 10 is read now, and the segments after it. Another agent has stored one of them as well.
    let timeline = runtime.block_on(async {
        let cluster = open_cluster(&format!("file://{}", folder.display()), "c").await;
        let source = Source::open(&cluster.unwrap(), Some("0001")).await.unwrap();
        source.timeline
    });
    runtime.block_on(segment(&timeline, 11, 20, None));
    let twins = files(&folder.join("clusters/c/0001/segments"));
    let twins: Vec<_> = twins
        .into_iter()
        .filter(|path| name(path).starts_with(&format!("{:020}-{:020}", 11, 20)))
        .collect();
    assert_eq!(twins.len(), 2);
    for spoilt in &twins {
        let before = fs::read(spoilt).unwrap();
        spoil(spoilt);
        let (rows, _) = attempt(30).unwrap();
        assert!(rows == good, "the other segment gave another result");
        fs::write(spoilt, before).unwrap();
    }
    for twin in &twins {
        spoil(twin);
    }
    let error = attempt(30).map(|(rows, _)| rows.len()).unwrap_err();
    let said = error.to_string();
    assert_eq!(error.kind(), Kind::Verification, "{said}");
    for lost in &twins {
        assert!(said.contains(&name(lost)), "{said}");
    }
    assert!(error.nearest().is_some(), "{said}");
}

/// Makes an object of the first timeline unreadable, by the beginning of its name; gives how many there were.
fn damage(vault: &Path, folder: &str, first: i64) -> usize {
    let folder = vault.join("clusters/c/0001").join(folder);
    let objects = files(&folder).into_iter();
    let objects = objects.filter(|object| name(object).starts_with(&format!("{first:020}-")));
    objects
        .map(|object| fs::write(object, b"damaged").unwrap())
        .count()
}

#[test]
fn damage_does_not_make_an_older_revision_the_newest() {
    let runtime = Runtime::new().unwrap();
    // The end of the newest segment; and a base that alone led there, with those before it that could stand in.
    for damaged in [
        &[("segments", 31)][..],
        &[("bases", 25), ("segments", 11), ("segments", 16)],
    ] {
        let (vault_place, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        vault(vault_place.path());
        let target = place.path().join("snapshot.db");
        let latest = || restore(&runtime, vault_place.path(), Target::Latest, target.clone());
        assert_eq!(latest().unwrap().last().unwrap().key.main, Revision(36));
        fs::remove_file(&target).unwrap();
        for (folder, first) in damaged {
            assert_eq!(damage(vault_place.path(), folder, *first), 1);
        }
        let error = latest().map(|rows| rows.len()).unwrap_err();
        assert_eq!(error.kind(), Kind::Verification, "{error}");
        assert!(error.to_string().contains("36"), "{error}");
        assert!(error.nearest().unwrap().below.is_some(), "{error}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
