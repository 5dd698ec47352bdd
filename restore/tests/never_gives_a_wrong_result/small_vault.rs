//! A small vault that has everything, and its objects.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{
    BaseFacts, ClusterName, CompactionMark, Head, SourceIdentity, Timeline, TimelineId, Vault,
};
use tokio::runtime::Runtime;

/// Small chunks, so that a base has several.
pub(super) const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 300,
    target_bytes: 600,
    max_bytes: 2_000,
};

pub(super) fn row(main: i64) -> RowBuf {
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

pub(super) struct Rows(std::vec::IntoIter<RowBuf>, Option<RowBuf>);

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        self.1 = self.0.next();
        Ok(self.1.as_ref().map(RowBuf::as_row))
    }
}

pub(super) async fn base(timeline: &Timeline, revision: i64, compact: i64) {
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

pub(super) async fn segment(timeline: &Timeline, first: i64, last: i64, mark: Option<(i64, i64)>) {
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

pub(super) async fn fill(timeline: &Timeline) {
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
pub(super) fn vault(place: &Path) {
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

/// All files beneath a folder.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
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
pub(super) fn kind(object: &Path) -> String {
    let parts: Vec<_> = object.iter().map(|part| part.to_string_lossy()).collect();
    let folder = ["bases", "segments", "gaps", "chunks"]
        .into_iter()
        .find(|folder| parts.iter().any(|part| part == folder));
    folder.map_or_else(|| parts[parts.len() - 1].to_string(), str::to_owned)
}

/// What a message must hold of an object so that an operator finds it.
pub(super) fn name(object: &Path) -> String {
    object.file_name().unwrap().to_string_lossy().into_owned()
}
