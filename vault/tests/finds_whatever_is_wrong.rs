//! Whatever is done to whichever object of a vault, a verification names it, once, and nothing else.
//!
//! `REVKEEP_CASES` draws more injections, and `REVKEEP_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "world/clock.rs"]
mod clock;
#[allow(dead_code, reason = "each test file uses a part of it")]
mod world;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use clock::{Shared, View};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_schemas::Revision;
use revkeep_schemas::names::PinName;
use revkeep_vault::retention::Rules;
use revkeep_vault::verify::{Depth, Ledger, Verification, VerifyOptions, Wrong};
use revkeep_vault::{
    BaseFacts, Cluster, Head, PinRecord, ProofKind, Receipt, SourceIdentity, Timeline, TimelineId,
    Vault,
};
use world::{Rows, SMALL, rows, segment};

/// Receipts in the vault.
const RECEIPTS: u64 = 1;

/// A vault with everything in it: two timelines, bases that share chunks, segments that overlap, a gap, a pin, a round of
/// deletions, a head.
struct Place {
    dir: tempfile::TempDir,
    cluster: Cluster,
    old_head: Vec<u8>,
    /// What retention deleted, by name.
    deleted: BTreeMap<String, Vec<u8>>,
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The objects of all clusters, by name.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    files(&root.join("clusters"))
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap();
            (name.to_owned(), fs::read(&file).unwrap())
        })
        .collect()
}

/// Makes files look as old as that, unless they are older.
fn age(root: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
    for file in files(root) {
        let file = File::open(&file).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        file.set_modified(then.min(before)).unwrap();
    }
}

/// The revisions that are said to be lost, by timeline.
fn lost(found: &Verification) -> Vec<(u32, i64, i64)> {
    let lost = found.lost.iter();
    lost.map(|it| (it.timeline.0, it.first.0, it.last.0))
        .collect()
}

fn named(found: &Verification) -> Vec<&str> {
    let findings = found.findings.iter();
    findings.map(|finding| finding.object.as_str()).collect()
}

async fn base(timeline: &Timeline, to: i64, compact: i64) {
    let all = rows(2..to + 1, 300);
    let facts = BaseFacts {
        revision: Revision(to),
        compact_revision: Revision(compact),
        ..BaseFacts::default()
    };
    timeline
        .write_base_with(facts, Rows::of(&all), None, SMALL)
        .await
        .unwrap();
}

async fn segments(timeline: &Timeline, ranges: &[(i64, i64)]) {
    let all = rows(2..500, 300);
    for (first, last) in ranges {
        let sealed = segment(timeline, &all, *first, *last);
        timeline.put_segment(&sealed).await.unwrap();
    }
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("vault");
        let vault = Vault::create(&format!("file://{}", root.display()))
            .await
            .unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let source = |cluster_id| SourceIdentity {
            cluster_id,
            ..SourceIdentity::default()
        };
        let first = cluster.create_timeline(source(1), None).await.unwrap();
        // What came first is old enough to go.
        base(&first, 50, 49).await;
        segments(&first, &[(51, 70), (71, 98)]).await;
        age(&root, 91);
        base(&first, 100, 99).await;
        age(&root, 90);
        segments(&first, &[(101, 130), (121, 150)]).await;
        first
            .put_gap(Revision(151), Revision(190), "compacted")
            .await
            .unwrap();
        base(&first, 200, 191).await;
        segments(&first, &[(201, 230)]).await;
        let rules = Rules {
            window: TimeDelta::days(1),
            daily: 0,
            monthly: 0,
            keep_last: 2,
            minimum: 2,
            grace: TimeDelta::zero(),
            ..Rules::default()
        };
        let before = contents(&root);
        for _ in 0..3 {
            cluster
                .apply_retention(&rules, &chrono_tz::UTC)
                .await
                .unwrap();
        }
        let after = contents(&root);
        let deleted = before.into_iter();
        let deleted = deleted.filter(|(name, _)| !after.contains_key(name));
        let deleted = deleted.collect();
        let parent = Some((first.id(), Revision(200)));
        let second = cluster.create_timeline(source(2), parent).await.unwrap();
        base(&second, 220, 0).await;
        segments(&second, &[(221, 240), (241, 260)]).await;
        let pin = PinRecord {
            timeline: TimelineId::FIRST,
            revision: Revision(125),
            reason: "an audit".to_owned(),
            created_unix_ms: 0,
            expires_unix_ms: None,
        };
        let name = PinName::new("audit").unwrap();
        cluster.set_pin(&name, &pin).await.unwrap();
        let receipt = Receipt {
            kind: ProofKind::Verification,
            sound: true,
            summary: "all was well".to_owned(),
            ended_unix_ms: 1_000,
            took_ms: 1,
            timeline: TimelineId(0),
            revision: Revision::ZERO,
            compact_revision: Revision::ZERO,
            hash: 0,
            server: String::new(),
            objects: 1,
            bytes: 1,
            findings: 0,
        };
        cluster.put_receipt(&receipt).await.unwrap();
        let mut head = Head {
            timeline: second.id(),
            base_revision: Revision(220),
            durable_revision: Revision(240),
            heartbeat_unix_ms: 1_000,
            ..Head::default()
        };
        cluster.put_head(&head).await.unwrap();
        let old_head = fs::read(root.join("clusters/prod/head")).unwrap();
        head.durable_revision = Revision(260);
        head.heartbeat_unix_ms = 9_000;
        cluster.put_head(&head).await.unwrap();
        Self {
            dir,
            cluster,
            old_head,
            deleted,
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    fn ledger(&self) -> Ledger {
        let folder = self.dir.path().join("ledger");
        Ledger::open(&folder, self.cluster.vault(), self.cluster.name()).unwrap()
    }

    async fn verify(&self, ledger: &mut Ledger) -> Verification {
        let options = VerifyOptions::default();
        self.cluster
            .verify(&options, ledger, &|_| {})
            .await
            .unwrap()
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        contents(&self.root())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.root().join(name)).unwrap();
    }
}

/// A name of the same kind that nothing stands at.
fn another_name(name: &str, random: &mut StdRng) -> Option<String> {
    let (folder, file) = name.rsplit_once('/')?;
    let uid = format!("{:016x}", random.random::<u64>());
    Some(match folder.split('/').nth(2)? {
        "chunks" => {
            let hash = format!("{uid}{uid}{uid}{uid}");
            format!("clusters/prod/chunks/{}/{hash}", &hash[..2])
        }
        "pins" => format!("{folder}/other"),
        "writing" => format!("{}-{uid}", name.rsplit_once('-')?.0),
        "deletions" => format!("clusters/prod/deletions/0000000099/{file}"),
        _ if file == "timeline" => "clusters/prod/0009/timeline".to_owned(),
        _ => format!("{}-{uid}", name.rsplit_once('-')?.0),
    })
}

/// Does one thing to the vault, and says which objects are wrong now.
fn injure(
    place: &Place,
    objects: &BTreeMap<String, Vec<u8>>,
    random: &mut StdRng,
) -> (String, Vec<String>) {
    let names: Vec<_> = objects.keys().collect();
    let name = names[random.random_range(0..names.len())].clone();
    let bytes = &objects[&name];
    match random.random_range(0..6) {
        0 => {
            let mut damaged = bytes.clone();
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
            place.write(&name, &damaged);
            (format!("a bit of byte {at} of {name}"), vec![name])
        }
        1 => {
            let len = random.random_range(0..bytes.len());
            place.write(&name, &bytes[..len]);
            (format!("{name} cut to {len}"), vec![name])
        }
        2 => {
            place.remove(&name);
            // A person may take a pin back or remove a receipt, and intents go with their bases.
            let silent = ["/pins/", "/writing/", "/receipts/"];
            let silent = silent.iter().any(|folder| name.contains(folder));
            let found = if silent { vec![] } else { vec![name.clone()] };
            (format!("{name} removed"), found)
        }
        3 => {
            let other = names[random.random_range(0..names.len())].clone();
            place.write(&name, &objects[&other]);
            place.write(&other, bytes);
            let mut both = vec![name.clone(), other.clone()];
            both.sort();
            if name == other {
                both.clear();
            }
            (format!("{name} and {other} swapped"), both)
        }
        4 => {
            place.write("clusters/prod/head", &place.old_head);
            (
                "an old head".to_owned(),
                vec!["clusters/prod/head".to_owned()],
            )
        }
        _ => match another_name(&name, random) {
            Some(copy) => {
                place.write(&copy, bytes);
                (format!("{name} copied to {copy}"), vec![copy])
            }
            None => ("nothing".to_owned(), vec![]),
        },
    }
}

fn mend(place: &Place, objects: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in place.objects() {
        match objects.get(&name) {
            None => place.remove(&name),
            Some(right) if *right != bytes => place.write(&name, right),
            Some(_) => {}
        }
    }
    for (name, bytes) in objects {
        if !place.root().join(name).exists() {
            place.write(name, bytes);
        }
    }
}

#[tokio::test]
async fn every_injection_is_named_once_and_nothing_else() {
    let cases: u32 = std::env::var("REVKEEP_CASES").map_or(200, |cases| cases.parse().unwrap());
    let seed =
        std::env::var("REVKEEP_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("REVKEEP_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new().await;
    let mut first = place.ledger();
    let sound = place.verify(&mut first).await;
    assert_eq!(sound.findings, [], "nothing is wrong yet");
    assert!(sound.bases >= 3 && sound.segments >= 5 && sound.read_objects == sound.objects);
    first.save().unwrap();
    let objects = place.objects();
    assert!(
        objects.keys().any(|name| name.ends_with("/swept")),
        "something was deleted"
    );
    for case in 0..cases {
        let (what, wrong) = injure(&place, &objects, &mut random);
        let found = place.verify(&mut place.ledger()).await;
        let named: Vec<_> = found.findings.iter().map(|it| it.object.clone()).collect();
        assert_eq!(named, wrong, "case {case}: {what}: {found:#?}");
        mend(&place, &objects);
    }
    assert_eq!(place.verify(&mut place.ledger()).await.findings, []);
}

#[tokio::test]
async fn what_is_lost_with_a_segment_is_said() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    place.verify(&mut ledger).await;
    let objects = place.objects();
    let name = objects
        .keys()
        .find(|name| name.contains("0002/segments/0/") && name.contains("241-"))
        .unwrap();
    place.remove(name);
    let found = place.verify(&mut ledger).await;
    assert_eq!(found.findings[0].wrong, Wrong::Missing);
    assert_eq!(lost(&found), [(2, 241, 260)]);
    // Without a memory of it, the head tells on it.
    let blank = place.dir.path().join("blank");
    let mut blank = Ledger::open(&blank, place.cluster.vault(), place.cluster.name()).unwrap();
    let found = place.verify(&mut blank).await;
    assert_eq!(found.findings.len(), 1);
    assert_eq!(found.findings[0].wrong, Wrong::Contradiction);
    // Once accepted, what is missing is told no more, and neither is what follows from it.
    let options = VerifyOptions {
        accept_missing: true,
        ..VerifyOptions::default()
    };
    let accepting = place.cluster.verify(&options, &mut ledger, &|_| {});
    assert_eq!(accepting.await.unwrap().findings.len(), 1);
    ledger.save().unwrap();
    let second = place.cluster.timeline(TimelineId(2)).await.unwrap();
    let bases = second.inventory().await.unwrap().bases;
    let chunk = bases[0].manifest.chunks.last().unwrap();
    let chunk = place.cluster.chunk_object(chunk);
    place.remove(&chunk);
    let mut ledger = place.ledger();
    let found = place.verify(&mut ledger).await;
    assert_eq!(named(&found), [&chunk]);
    let accepting = place.cluster.verify(&options, &mut ledger, &|_| {});
    assert_eq!(accepting.await.unwrap().findings.len(), 1);
    let found = place.verify(&mut ledger).await;
    assert_eq!(found.findings, []);
    // It cannot be brought back all the same: a base without a chunk is none, and nothing leads on from it.
    assert_eq!(lost(&found), [(2, 1, 260)]);
    assert_eq!(found.accepted, [chunk.as_str(), name.as_str()].sorted());
    assert!(found.unusable().any(|object| object == chunk));
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl<const N: usize> Sorted for [&str; N] {
    fn sorted(mut self) -> Self {
        self.sort_unstable();
        self
    }
}

#[tokio::test]
async fn a_cluster_that_is_gone_altogether_is_missed() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    place.verify(&mut ledger).await;
    ledger.save().unwrap();
    let objects = place.objects();
    fs::remove_dir_all(place.root().join("clusters")).unwrap();
    let vault = place.cluster.vault();
    assert_eq!(vault.clusters().await.unwrap(), []);
    let known = Ledger::clusters(&place.dir.path().join("ledger"), vault).unwrap();
    assert_eq!(known, [place.cluster.name().clone()]);
    let found = place.verify(&mut place.ledger()).await;
    let silent = ["/pins/", "/writing/", "/receipts/"];
    let silent = |name: &String| silent.iter().any(|folder| name.contains(folder));
    let expected: Vec<_> = objects.keys().filter(|name| !silent(name)).collect();
    assert_eq!(named(&found), expected, "each once");
    assert!(found.findings.iter().all(|it| it.wrong == Wrong::Missing));
    assert!(lost(&found).contains(&(2, 220, 260)), "{:?}", found.lost);
    assert!(!found.is_anything_there());
}

#[tokio::test]
async fn a_timeline_that_is_gone_altogether_is_named_once_with_what_is_lost() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    place.verify(&mut ledger).await;
    let gone: Vec<_> = place.objects().into_keys().collect();
    let gone: Vec<_> = gone.iter().filter(|name| name.contains("/0002/")).collect();
    for name in &gone {
        place.remove(name);
    }
    let found = place.verify(&mut ledger).await;
    assert_eq!(named(&found), gone, "the head tells nothing more");
    assert_eq!(lost(&found), [(2, 220, 260)]);
}

#[tokio::test]
async fn a_hole_is_named_as_far_as_nobody_explains_it() {
    let place = Place::new().await;
    for name in place.objects().keys() {
        // Beside a recorded gap, and beside what retention deleted.
        if name.contains("0001/segments/0/") && name.contains("121-") {
            place.remove(name);
        }
    }
    let folder = place.dir.path().join("none");
    let mut blank = Ledger::open(&folder, place.cluster.vault(), place.cluster.name()).unwrap();
    let found = place.verify(&mut blank).await;
    assert_eq!(
        named(&found),
        ["clusters/prod/0001: revisions 131 to 150"],
        "{found:#?}"
    );
}

#[tokio::test]
async fn what_outlasts_its_deletion_has_to_be_there_from_then_on() {
    let place = Place::new().await;
    let (name, bytes) = place
        .deleted
        .iter()
        .find(|(name, _)| name.contains("/segments/"))
        .unwrap();
    let names = [name.clone()].into();
    assert!(place.cluster.has_swept_any(&names).await.unwrap());
    // The store kept it, as it does what is locked.
    place.write(name, bytes);
    assert!(!place.cluster.has_swept_any(&names).await.unwrap());
    let mut ledger = place.ledger();
    assert_eq!(place.verify(&mut ledger).await.findings, []);
    ledger.save().unwrap();
    place.remove(name);
    assert_eq!(named(&place.verify(&mut place.ledger()).await), [name]);
    // Who never saw it holds for deleted what the list of a round has.
    let folder = place.dir.path().join("none");
    let mut blank = Ledger::open(&folder, place.cluster.vault(), place.cluster.name()).unwrap();
    assert_eq!(place.verify(&mut blank).await.findings, []);

    // A base that was kept needs its chunks.
    let is_chunk = |name: &&String| name.contains("/chunks/");
    let chunk = place.deleted.keys().find(is_chunk).unwrap();
    let bases = place.deleted.iter();
    for (base, bytes) in bases.filter(|(name, _)| name.contains("/bases/")) {
        place.write(base, bytes);
    }
    let found = place.verify(&mut blank).await;
    assert!(named(&found).contains(&chunk.as_str()), "{found:#?}");
}

#[tokio::test]
async fn what_was_found_damaged_is_named_until_it_is_read_and_sound() {
    let place = Place::new().await;
    let objects = place.objects();
    let (name, right) = objects
        .iter()
        .find(|(name, _)| name.contains("0002/segments/0/"))
        .unwrap();
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 1;
    place.write(name, &wrong);
    let mut ledger = place.ledger();
    assert_eq!(named(&place.verify(&mut ledger).await), [name]);
    ledger.save().unwrap();
    let listed = VerifyOptions {
        depth: Depth::Listed,
        ..VerifyOptions::default()
    };
    let mut ledger = place.ledger();
    let quick = place.cluster.verify(&listed, &mut ledger, &|_| {});
    let quick = quick.await.unwrap();
    assert_eq!(named(&quick), [name]);
    assert!(quick.findings[0].reason.contains("before"));
    let receipt = quick.receipt(Duration::ZERO, None);
    assert!(!receipt.sound && receipt.summary.contains("listed alone"));
    // It is the first to be read, whatever else is due.
    let little = VerifyOptions {
        max_bytes: 1,
        ..VerifyOptions::default()
    };
    place.write(name, right);
    let mended = place.cluster.verify(&little, &mut ledger, &|_| {});
    let mended = mended.await.unwrap();
    assert_eq!(mended.findings, []);
    assert!(mended.left > 0);
    let left = format!("{} objects are due", mended.left);
    let receipt = mended.receipt(Duration::ZERO, None);
    assert!(receipt.summary.contains(&left), "{}", receipt.summary);
}

/// Wherever a run is ended: what it would have accepted is told by the next.
#[tokio::test]
async fn nothing_is_accepted_that_was_not_told() {
    let shared = Shared::new(1);
    let open = async |requests| {
        let view = View::new(&shared, requests);
        let vault = Vault::create_with_store(view.clone(), "v".into()).await;
        (view, vault.unwrap().cluster(&"prod".parse().unwrap()))
    };
    let (view, cluster) = open(usize::MAX).await;
    let timeline = cluster.create_timeline(SourceIdentity::default(), None);
    base(&timeline.await.unwrap(), 100, 0).await;
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), cluster.vault(), cluster.name()).unwrap();
    let verify = |cluster: Cluster, accept_missing| {
        let options = VerifyOptions {
            accept_missing,
            ..VerifyOptions::default()
        };
        async move |ledger: &mut Ledger| cluster.verify(&options, ledger, &|_| {}).await.unwrap()
    };
    let first = verify(cluster.clone(), false)(&mut ledger).await;
    ledger.save().unwrap();
    assert_eq!(first.findings, []);
    let timeline = cluster.timeline(TimelineId::FIRST).await.unwrap();
    let bases = timeline.inventory().await.unwrap().bases;
    let mut gone: Vec<_> = bases[0].manifest.chunks.iter().take(3).collect();
    gone.dedup();
    let gone: Vec<_> = gone
        .iter()
        .map(|chunk| cluster.chunk_object(chunk))
        .collect();
    assert_eq!(gone.len(), 3);
    for chunk in &gone {
        let path = object_store::path::Path::from(format!("v/{chunk}"));
        object_store::ObjectStoreExt::delete(&*view, &path)
            .await
            .unwrap();
    }
    let mut cut_off = 0;
    for requests in 3.. {
        let (view, part) = open(requests).await;
        let mut ledger = Ledger::open(dir.path(), cluster.vault(), cluster.name()).unwrap();
        let stopped = async {
            while !view.stopped() {
                tokio::task::yield_now().await;
            }
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
        };
        let accepting = verify(part, true);
        let ended = tokio::select! {
            found = accepting(&mut ledger) => Some(found),
            () = stopped => None,
        };
        if let Some(found) = ended {
            assert_eq!(found.findings.len(), 3);
            break;
        }
        cut_off += 1;
        let found = verify(cluster.clone(), false)(&mut ledger).await;
        assert_eq!(found.findings.len(), 3, "cut off after {requests} requests");
    }
    assert!(cut_off > 3);
}

#[tokio::test]
async fn each_byte_is_read_once_a_period_and_new_ones_at_once() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    let options = VerifyOptions {
        period: Duration::from_secs(30 * 86_400),
        ..VerifyOptions::default()
    };
    let all = place
        .cluster
        .verify(&options, &mut ledger, &|_| {})
        .await
        .unwrap();
    let again = place
        .cluster
        .verify(&options, &mut ledger, &|_| {})
        .await
        .unwrap();
    let small = again.objects - again.chunks - again.segments - RECEIPTS;
    assert_eq!((all.read_objects, again.read_objects), (all.objects, small));
    let second = place.cluster.timeline(TimelineId(2)).await.unwrap();
    segments(&second, &[(261, 280)]).await;
    let new = place
        .cluster
        .verify(&options, &mut ledger, &|_| {})
        .await
        .unwrap();
    assert_eq!(new.read_objects, small + 1);

    // A limit is kept, and what it leaves is read by later runs.
    let mut ledger = place.ledger();
    let limited = VerifyOptions {
        max_bytes: all.bytes / 4,
        ..options
    };
    let mut read = 0;
    for run in 0.. {
        let part = place
            .cluster
            .verify(&limited, &mut ledger, &|_| {})
            .await
            .unwrap();
        read += part.read_objects - small;
        if part.left == 0 {
            assert!(run >= 2, "the limit cut it into parts");
            break;
        }
    }
    assert_eq!(read, new.chunks + new.segments + RECEIPTS);
    let listed = VerifyOptions {
        depth: Depth::Listed,
        ..VerifyOptions::default()
    };
    let quick = place
        .cluster
        .verify(&listed, &mut ledger, &|_| {})
        .await
        .unwrap();
    assert_eq!((quick.read_objects, quick.findings.len()), (small, 0));
}
