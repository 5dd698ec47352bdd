//! A vault with everything in it, and what a verification finds in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use revkeep_schemas::Revision;
use revkeep_schemas::names::PinName;
use revkeep_vault::retention::Rules;
use revkeep_vault::verify::{Ledger, Verification, VerifyOptions};
use revkeep_vault::{
    BaseFacts, Cluster, Head, PinRecord, ProofKind, Receipt, SourceIdentity, Timeline, TimelineId,
    Vault,
};

use super::world::{Rows, SMALL, rows, segment};

/// Receipts in the vault.
pub(crate) const RECEIPTS: u64 = 1;

/// A vault with everything in it: two timelines, bases that share chunks, segments that overlap, a gap, a pin, a round of
/// deletions, a head.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) old_head: Vec<u8>,
    /// What retention deleted, by name.
    pub(crate) deleted: BTreeMap<String, Vec<u8>>,
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
pub(crate) fn lost(found: &Verification) -> Vec<(u32, i64, i64)> {
    let lost = found.lost.iter();
    lost.map(|it| (it.timeline.0, it.first.0, it.last.0))
        .collect()
}

pub(crate) fn named(found: &Verification) -> Vec<&str> {
    let findings = found.findings.iter();
    findings.map(|finding| finding.object.as_str()).collect()
}

pub(crate) async fn base(timeline: &Timeline, to: i64, compact: i64) {
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

pub(crate) async fn segments(timeline: &Timeline, ranges: &[(i64, i64)]) {
    let all = rows(2..500, 300);
    for (first, last) in ranges {
        let sealed = segment(timeline, &all, *first, *last);
        timeline.put_segment(&sealed).await.unwrap();
    }
}

impl Place {
    pub(crate) async fn new() -> Self {
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

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let folder = self.dir.path().join("ledger");
        Ledger::open(&folder, self.cluster.vault(), self.cluster.name()).unwrap()
    }

    pub(crate) async fn verify(&self, ledger: &mut Ledger) -> Verification {
        let options = VerifyOptions::default();
        self.cluster
            .verify(&options, ledger, &|_| {})
            .await
            .unwrap()
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        contents(&self.root())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.root().join(name)).unwrap();
    }
}
