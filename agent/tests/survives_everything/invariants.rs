//! What must hold, whatever happened.

use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_harness::product::{CLUSTER, VaultPlace, run};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::names::Uid;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{Revision, RowSource};
use revkeep_vault::{
    ClusterName, Coverage, ErrorKind, Inventory, Piece, ReadOptions, SegmentEntry, Timeline, Vault,
};

use crate::model::{History, Model, Rows};

/// What is in a vault at one moment, read without any fault.
pub(crate) struct Held {
    timeline: Timeline,
    inventory: Inventory,
    coverage: Coverage,
}

impl Held {
    /// Reads all timelines, the oldest first.
    pub(crate) async fn all(store: &Arc<InMemory>, prefix: &str) -> Result<Vec<Self>> {
        let store = Arc::clone(store);
        let vault = match Vault::with_store(store, Path::from(prefix)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            vault => vault?,
        };
        let cluster = vault.cluster(&ClusterName::new(CLUSTER)?);
        let mut all = Vec::new();
        for timeline in cluster.timelines().await? {
            let inventory = timeline.inventory().await?;
            ensure!(
                inventory.damaged.is_empty(),
                "damaged: {:?}",
                inventory.damaged
            );
            let coverage = Coverage::compute(&inventory);
            all.push(Self {
                timeline,
                inventory,
                coverage,
            });
        }
        Ok(all)
    }

    /// The number of the timeline, as it is written.
    pub(crate) fn id(&self) -> String {
        self.timeline.id().to_string()
    }

    /// Closed ranges that can be restored.
    pub(crate) fn ranges(&self) -> &[(Revision, Revision)] {
        &self.coverage.ranges
    }

    /// The number of bases and segments.
    pub(crate) fn objects(&self) -> usize {
        self.inventory.bases.len() + self.inventory.segments.len()
    }

    fn is_recorded(&self, revision: Revision) -> bool {
        let mut gaps = self.inventory.gaps.iter().map(|gap| &gap.record);
        gaps.any(|gap| gap.first <= revision && revision <= gap.last)
    }

    /// Nothing is called durable that is not: the revision can be restored, and so can every one from the first on, but for
    /// those that are recorded as lost.
    pub(crate) fn bears_out(&self, durable: Revision) -> Result<()> {
        ensure!(
            self.coverage.contains(durable),
            "{durable} is called durable and is not covered: {:?}",
            self.coverage
        );
        self.names_what_it_lacks(durable)
    }

    /// Every revision between the first and `last` is covered or in a recorded gap.
    pub(crate) fn names_what_it_lacks(&self, last: Revision) -> Result<()> {
        let ranges = &self.coverage.ranges;
        let holes = ranges.iter().zip(ranges.iter().skip(1));
        for (left, right) in holes {
            for revision in left.1.next().0..right.0.0 {
                let revision = Revision(revision);
                ensure!(
                    revision > last || self.is_recorded(revision),
                    "{revision} is neither covered nor recorded as lost: {:?}",
                    self.coverage
                );
            }
        }
        Ok(())
    }

    /// Nothing is missing between what is covered, and nothing is called lost.
    pub(crate) fn lacks_nothing(&self) -> Result<()> {
        ensure!(
            self.coverage.ranges.len() <= 1 && self.inventory.gaps.is_empty(),
            "timeline {} lacks what the source had all the time: {:?}, {:?}",
            self.id(),
            self.coverage,
            self.inventory.gaps
        );
        Ok(())
    }

    /// What would be covered if these were stored too.
    pub(crate) fn covered_with(
        &self,
        waiting: &[(Revision, Revision)],
    ) -> Vec<(Revision, Revision)> {
        let mut inventory = self.inventory.clone();
        let entries = waiting.iter().map(|(first, last)| SegmentEntry {
            name: String::new(),
            level: 0,
            first: *first,
            last: *last,
            uid: Uid(0),
            bytes: 0,
        });
        inventory.segments.extend(entries);
        Coverage::compute(&inventory).ranges
    }

    /// Nothing is recorded as lost that the source still has, and what is not covered: its number.
    pub(crate) fn lost(&self, compacted: Revision) -> Result<i64> {
        for gap in &self.inventory.gaps {
            ensure!(
                gap.record.last < compacted,
                "{:?} is called lost, and the source is compacted at {compacted} only",
                gap.record
            );
        }
        let ranges = &self.coverage.ranges;
        let holes = ranges.iter().zip(ranges.iter().skip(1));
        Ok(holes.map(|(left, right)| right.0.0 - left.1.0 - 1).sum())
    }

    /// Every base and every segment holds exactly the rows of the history.
    pub(crate) async fn is_exact(&self, history: &History) -> Result<()> {
        for base in &self.inventory.bases {
            let chunks = base.manifest.chunks.iter().copied();
            let held = self.read(chunks.map(Piece::Chunk).collect()).await?;
            same(&held, &history.at(base.revision, base.compact_revision))
                .with_context(|| base.name.clone())?;
            if let Some(said) = base.manifest.facts.checkpoint {
                let ours = history.hash(said.revision, said.compact_revision.max(Revision::ZERO));
                ensure!(said.hash == ours, "{}: {said:?}, not {ours:08x}", base.name);
            }
        }
        for entry in &self.inventory.segments {
            let piece = Piece::Segment {
                entry: entry.clone(),
                from: entry.first,
                to: entry.last,
            };
            let held = self.read(vec![piece]).await?;
            let range = history
                .rows
                .iter()
                .filter(|(key, _)| key.main >= entry.first && key.main <= entry.last)
                .map(|(key, value)| (*key, value.clone()));
            same(&held, &range.collect()).with_context(|| entry.name.clone())?;
        }
        Ok(())
    }

    /// Everything in it is of one of the histories that the source had: of the one that it has now, if it is the one that is captured.
    pub(crate) async fn is_of_one_history(&self, model: &Model, captured: bool) -> Result<()> {
        let now = self.is_exact(&model.now()).await;
        if now.is_ok() || captured {
            return now.with_context(|| format!("timeline {}", self.id()));
        }
        for history in model.past() {
            if self.is_exact(history).await.is_ok() {
                return Ok(());
            }
        }
        now.with_context(|| format!("timeline {} is of no history that there was", self.id()))
    }

    async fn read(&self, pieces: Vec<Piece>) -> Result<Rows> {
        let mut incoming = self.timeline.read_rows(pieces, ReadOptions::default());
        let mut rows = Rows::new();
        while let Some(read) = incoming.recv().await {
            for row in EncodedRows::new(&read?.bytes) {
                let row = row?;
                let twice = rows.insert(row.key, Bytes::copy_from_slice(row.value));
                ensure!(twice.is_none(), "{:?} comes twice", row.key);
            }
        }
        Ok(rows)
    }
}

/// A restore of the revision, by the operator's own command, gives the model's rows and hash.
pub(crate) async fn comes_back(
    vault: &VaultPlace,
    (timeline, revision): (&str, Revision),
    folder: &FilePath,
    model: &History,
) -> Result<()> {
    let file = folder.join(format!("restored-{revision}.db"));
    let name = file.to_str().context("a path that is not UTF-8")?;
    let to = revision.to_string();
    let arguments = ["restore", CLUSTER, "-w", "json", "--to-revision", &to];
    let arguments = [&arguments[..], &["--timeline", timeline]].concat();
    let arguments = [&arguments[..], &["--snapshot-file", name]].concat();
    let report = run("revkeep", vault, &arguments).await?.json()?;
    let number = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_i64);
    let compacted = number(report.get("compact_revision")).context("no compact revision")?;
    let expected = model.at(revision, Revision(compacted));
    let mut source = DbFile::open(&file)?.rows()?;
    let mut rows = Rows::new();
    while let Some(row) = source.next_row()? {
        rows.insert(row.key, Bytes::copy_from_slice(row.value));
    }
    same(&rows, &expected).with_context(|| format!("restored {revision} under {compacted}"))?;
    let hash = report.get("hashkv").and_then(|hash| hash.get("hash"));
    let ours = model.hash(revision, Revision(compacted));
    ensure!(
        number(hash) == Some(ours.into()),
        "HashKV({revision}) under {compacted}: {hash:?}, the model's is {ours}"
    );
    std::fs::remove_file(file)?;
    Ok(())
}

/// A revision that is not covered is refused, and nothing is left of the try.
pub(crate) async fn is_refused(
    vault: &VaultPlace,
    (timeline, revision): (&str, Revision),
    folder: &FilePath,
) -> Result<()> {
    let file = folder.join("refused.db");
    let name = file.to_str().context("a path that is not UTF-8")?;
    let to = revision.to_string();
    let arguments = [
        "restore",
        CLUSTER,
        "--timeline",
        timeline,
        "--to-revision",
        &to,
        "--snapshot-file",
        name,
    ];
    let answer = run("revkeep", vault, &arguments).await?;
    ensure!(
        matches!(answer.code, 11 | 15) && !file.exists(),
        "a lost revision: {answer:?}"
    );
    Ok(())
}

fn same(held: &Rows, expected: &Rows) -> Result<()> {
    for (key, value) in expected {
        let found = held.get(key);
        ensure!(found.is_some(), "the row {key:?} is missing");
        ensure!(found == Some(value), "the row {key:?} differs");
    }
    let extra = held.keys().find(|key| !expected.contains_key(key));
    ensure!(extra.is_none(), "{extra:?} was never in the source");
    Ok(())
}
