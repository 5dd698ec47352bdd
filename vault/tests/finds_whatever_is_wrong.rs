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
mod world;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
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
        base(&first, 50, 49).await;
        segments(&first, &[(51, 70)]).await;
        base(&first, 100, 99).await;
        // What came first is old enough to go.
        for file in files(&root) {
            let then = SystemTime::now() - Duration::from_secs(90 * 86_400);
            File::open(&file).unwrap().set_modified(then).unwrap();
        }
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
        for _ in 0..3 {
            cluster
                .apply_retention(&rules, &chrono_tz::UTC)
                .await
                .unwrap();
        }
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
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    fn ledger(&self) -> Ledger {
        let vault = self.cluster.vault().id();
        Ledger::open(
            &self.dir.path().join("ledger"),
            "here",
            vault,
            self.cluster.name(),
        )
        .unwrap()
    }

    async fn verify(&self, ledger: &mut Ledger) -> Verification {
        let options = VerifyOptions::default();
        self.cluster
            .verify(&options, ledger, &|_| {})
            .await
            .unwrap()
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.root();
        files(&root.join("clusters"))
            .into_iter()
            .map(|file| {
                let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
                (name.to_owned(), fs::read(&file).unwrap())
            })
            .collect()
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
    assert!(sound.bases >= 4 && sound.segments >= 5 && sound.read_objects == sound.objects);
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
    let lost: Vec<_> = found
        .lost
        .iter()
        .map(|it| (it.timeline.0, it.first.0, it.last.0))
        .collect();
    assert_eq!(lost, [(2, 241, 260)]);
    // Without a memory of it, the head tells on it.
    let blank = place.dir.path().join("blank");
    let vault = place.cluster.vault().id();
    let mut blank = Ledger::open(&blank, "here", vault, place.cluster.name()).unwrap();
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
    let chunk = objects.keys().find(|name| name.contains("/chunks/"));
    place.remove(chunk.unwrap());
    let mut ledger = place.ledger();
    let found = place.verify(&mut ledger).await;
    let named: Vec<_> = found.findings.iter().map(|it| &it.object).collect();
    assert_eq!(named, [chunk.unwrap()]);
    let accepting = place.cluster.verify(&options, &mut ledger, &|_| {});
    assert_eq!(accepting.await.unwrap().findings.len(), 1);
    let found = place.verify(&mut ledger).await;
    assert_eq!(found.findings, []);
    assert!(
        !found.lost.is_empty(),
        "it cannot be brought back all the same"
    );
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
