//! Invariant "every bit counts": whatever happens to any object of a vault, a restore gives the right result because it
//! did not need the object, or says what is wrong and leaves nothing. Never a wrong result.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use revkeep_restore::around::execute_around;
use revkeep_restore::execute::Destination;
use revkeep_restore::overlap::Overlaps;
use revkeep_restore::plan::{History, Target};
use revkeep_restore::prepare::{Request, prepare};
use revkeep_restore::source::{Source, open_cluster};
use revkeep_restore::{Kind, RestoreError};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{
    BaseFacts, ClusterName, CompactionMark, Head, Piece, SourceIdentity, Timeline, TimelineId,
    Vault,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Small chunks, so that a base has several.
const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 300,
    target_bytes: 600,
    max_bytes: 2_000,
};
/// Targets that between them need every base and segment of the timeline.
const TARGETS: [i64; 4] = [5, 20, 30, 36];

fn row(main: i64) -> RowBuf {
    let kv = KeyValue {
        key: format!("key-{}", main % 12).as_bytes(),
        create_revision: 2 + (main - 2) % 12,
        mod_revision: main,
        version: 1 + (main - 2) / 12,
        value: &[main.to_le_bytes()[0]; 90],
        ..KeyValue::default()
    }
    .encode();
    let key = RowKey {
        main: Revision(main),
        sub: 0,
        tombstone: false,
    };
    RowBuf {
        key,
        value: kv.into(),
    }
}

struct Rows(std::vec::IntoIter<RowBuf>, Option<RowBuf>);

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        self.1 = self.0.next();
        Ok(self.1.as_ref().map(RowBuf::as_row))
    }
}

async fn base(timeline: &Timeline, revision: i64, compact: i64) {
    // Of each key the newest row at the compact revision, and everything after.
    let rows = (2..=revision).filter(|main| *main > compact || main + 12 > compact);
    let facts = BaseFacts {
        revision: Revision(revision),
        compact_revision: Revision(compact),
        etcd_version: "3.5.33".to_owned(),
        ..BaseFacts::default()
    };
    let rows = Rows(rows.map(row).collect::<Vec<_>>().into_iter(), None);
    let written = timeline.write_base_with(facts, rows, None, CHUNKS).await;
    assert!(written.unwrap().chunks.len() > 1);
}

async fn segment(timeline: &Timeline, first: i64, last: i64, mark: Option<(i64, i64)>) {
    let mut writer = timeline.segment_writer(0, 1);
    for main in first..=last {
        writer.push_revision(&[row(main).as_row()], main).unwrap();
    }
    if let Some((revision, compact_revision)) = mark {
        writer.compaction(CompactionMark {
            revision: Revision(revision),
            compact_revision: Revision(compact_revision),
        });
    }
    let sealed = writer.finish().unwrap();
    timeline.put_segment(&sealed).await.unwrap();
}

async fn fill(timeline: &Timeline) {
    base(timeline, 10, 0).await;
    base(timeline, 25, 12).await;
    segment(timeline, 11, 20, None).await;
    segment(timeline, 21, 30, Some((25, 12))).await;
    // Another agent's, of which nothing is needed.
    segment(timeline, 16, 24, None).await;
    segment(timeline, 31, 36, None).await;
    let (first, last) = (Revision(37), Revision(39));
    timeline.put_gap(first, last, "lost").await.unwrap();
}

/// A vault with two timelines of the same objects, so that each has a double that is not it.
fn vault(place: &Path) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let vault = Vault::create(&format!("file://{}", place.display())).await;
        let vault = vault.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let first = cluster.create_timeline(SourceIdentity::default(), None);
        let first = first.await.unwrap();
        fill(&first).await;
        let parent = Some((TimelineId::FIRST, Revision(20)));
        let second = cluster.create_timeline(SourceIdentity::default(), parent);
        fill(&second.await.unwrap()).await;
        let head = Head {
            timeline: TimelineId(2),
            base_revision: Revision(25),
            durable_revision: Revision(36),
            heartbeat_unix_ms: 1,
            source_revision: Revision(36),
            compact_revision: Revision(12),
            ..Head::default()
        };
        cluster.put_head(&head).await.unwrap();
    });
}

/// Restores a revision of the first timeline; gives the rows.
fn restore(
    runtime: &Runtime,
    vault: &Path,
    target: Target,
    path: PathBuf,
) -> Result<Vec<RowBuf>, RestoreError> {
    restore_and_tell(runtime, vault, target, path).map(|(rows, _)| rows)
}

/// The same, with what the report notes.
fn restore_and_tell(
    runtime: &Runtime,
    vault: &Path,
    target: Target,
    path: PathBuf,
) -> Result<(Vec<RowBuf>, Vec<String>), RestoreError> {
    let request = Request {
        target,
        history: History::AsSource,
        overlaps: Overlaps::Small,
    };
    let (source, prepared) = runtime.block_on(async {
        let cluster = open_cluster(&format!("file://{}", vault.display()), "c").await?;
        let source = Source::open(&cluster, Some("0001")).await?;
        let prepared = prepare(&source, request).await?;
        Ok::<_, RestoreError>((source, prepared))
    })?;
    let destination = Destination::SnapshotFile { path: path.clone() };
    let (_sender, cancelled) = watch::channel(false);
    let (runtime, progress) = (runtime.handle(), |_: u64| {});
    let report = execute_around(
        runtime,
        &source,
        request,
        prepared,
        &destination,
        &cancelled,
        0.0,
        &progress,
        &|_| {},
    )?;
    let db = DbFile::open(path).unwrap();
    let mut rows = db.rows().unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        all.push(row.to_buf());
    }
    Ok((all, report.notes))
}

/// All files beneath a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut all: Vec<_> = entries
        .flat_map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                files(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect();
    all.sort();
    all
}

/// The kind of an object, by its place: `bases`, `chunks`, `FORMAT`.
fn kind(object: &Path) -> String {
    let parts: Vec<_> = object.iter().map(|part| part.to_string_lossy()).collect();
    let folder = ["bases", "segments", "gaps", "chunks"]
        .into_iter()
        .find(|folder| parts.iter().any(|part| part == folder));
    folder.map_or_else(|| parts[parts.len() - 1].to_string(), str::to_owned)
}

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

/// What a message must hold of an object so that an operator finds it.
fn name(object: &Path) -> String {
    object.file_name().unwrap().to_string_lossy().into_owned()
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

/// The objects that a restore of the sound vault reads, by the ends of their names.
fn needed(runtime: &Runtime, vault: &Path, revision: i64) -> Vec<String> {
    let request = Request {
        target: Target::Revision(Revision(revision)),
        history: History::AsSource,
        overlaps: Overlaps::Small,
    };
    let (source, prepared) = runtime.block_on(async {
        let cluster = open_cluster(&format!("file://{}", vault.display()), "c").await;
        let source = Source::open(&cluster.unwrap(), Some("0001")).await.unwrap();
        let prepared = prepare(&source, request).await.unwrap();
        (source, prepared)
    });
    let cluster = source.timeline.cluster();
    let pieces = prepared.pieces.iter().map(|piece| match piece {
        Piece::Chunk(chunk) => cluster.chunk_object(chunk),
        Piece::Segment { entry, .. } => entry.name.clone(),
    });
    let base = source.inventory.bases.iter();
    let base = base.filter(|base| base.revision == prepared.recipe.base_revision);
    let names = base.map(|base| base.name.clone()).chain(pieces);
    names
        .chain(["FORMAT".to_owned(), "clusters/c/0001/timeline".to_owned()])
        .collect()
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
