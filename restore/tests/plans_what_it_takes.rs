//! The promise: a plan says what the restore takes, and its steps are the commands that do it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod world;

use std::fmt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use revkeep_restore::around::execute_around;
use revkeep_restore::estimate::Estimate;
use revkeep_restore::execute::Destination;
use revkeep_restore::overlap::Overlaps;
use revkeep_restore::plan::{History, Target};
use revkeep_restore::prepare::{Request, prepare};
use revkeep_restore::source::Source;
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::{Revision, RowSource};
use revkeep_vault::{
    BaseFacts, Cluster, ClusterName, CompactionMark, SourceIdentity, Timeline, Vault,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Counts what is asked of a store, independently of the product.
#[derive(Debug)]
struct Counting {
    inner: InMemory,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counting {
    fn total(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.requests), read(&self.bytes))
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counting({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        let got = self.inner.get_opts(location, options).await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = got.range.end - got.range.start;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 20_000,
    target_bytes: 40_000,
    max_bytes: 80_000,
};

async fn segment(timeline: &Timeline, first: i64, last: i64, compact: Option<i64>) {
    let mut writer = timeline.segment_writer(0, 1);
    let mut rows = world::Rows::up_to(last, 500);
    while let Some(row) = rows.next_row().unwrap() {
        if row.key.main.0 >= first {
            writer.push_revision(&[row], row.key.main.0).unwrap();
        }
    }
    if let Some(compact) = compact {
        writer.compaction(CompactionMark {
            revision: Revision(first),
            compact_revision: Revision(compact),
        });
    }
    timeline
        .put_segment(&writer.finish().unwrap())
        .await
        .unwrap();
}

/// A base of many chunks and segments of several agents; compacted, so that there are two passes, or not.
async fn cluster(store: Arc<dyn ObjectStore>, compacted: bool) -> Cluster {
    let vault = Vault::create_with_store(store, StorePath::from("v"));
    let vault = vault.await.unwrap();
    let cluster = vault.cluster(&ClusterName::new("c").unwrap());
    let source = SourceIdentity::default();
    let timeline = cluster.create_timeline(source, None).await.unwrap();
    let facts = BaseFacts {
        revision: Revision(2000),
        etcd_version: "3.5.33".to_owned(),
        ..BaseFacts::default()
    };
    let rows = world::Rows::up_to(2000, 500);
    let written = timeline.write_base_with(facts, rows, None, CHUNKS).await;
    assert!(written.unwrap().chunks.len() > 10);
    for first in (2001..3000).step_by(100) {
        let mark = compacted.then_some(1500);
        segment(&timeline, first, first + 99, mark).await;
        segment(&timeline, first + 50, first + 149, mark).await;
    }
    cluster
}

#[test]
fn requests_and_bytes_are_those_of_the_real_run() {
    let runtime = Runtime::new().unwrap();
    for (compacted, target) in [(false, 2950), (true, 2950), (true, 2040), (false, 1700)] {
        let counting = Arc::new(Counting {
            inner: InMemory::new(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("snapshot.db");
        let request = Request {
            target: Target::Revision(Revision(target)),
            history: History::AsSource,
            overlaps: Overlaps::Small,
        };
        let cluster = runtime.block_on(cluster(counting.clone(), compacted));
        let before = (counting.total(), cluster.vault().traffic());
        let (source, prepared) = runtime.block_on(async {
            let source = Source::open(&cluster, None).await.unwrap();
            let prepared = prepare(&source, request).await.unwrap();
            (source, prepared)
        });
        let since = |now: (u64, u64), then: (u64, u64)| (now.0 - then.0, now.1 - then.1);
        let spent = since(cluster.vault().traffic(), before.1);
        let plan = Estimate::of(&prepared, spent.into(), 0.0, "memory:", Some(&path));
        let (_sender, cancelled) = watch::channel(false);
        let report = execute_around(
            runtime.handle(),
            &source,
            request,
            prepared,
            &Destination::SnapshotFile { path },
            &cancelled,
            0.0,
            &|_| {},
            &|_| {},
        )
        .unwrap();
        let (requests, bytes) = since(counting.total(), before.0);
        let near = |planned: u64, real: u64| planned.abs_diff(real) * 100 <= real * 15;
        let fetches = plan.fetches;
        eprintln!(
            "compacted {compacted}, to {target}: planned {fetches}, real {bytes} bytes in {requests} requests"
        );
        assert!(
            near(fetches.requests, requests) && near(fetches.bytes, bytes),
            "compacted {compacted}, to {target}: planned {fetches:?}, real {requests} requests and {bytes} bytes"
        );
        assert!(
            plan.disk_bytes >= report.db_bytes && plan.disk_free_bytes > Some(0),
            "{plan:?}: {}",
            report.db_bytes
        );
        assert!(plan.warnings(u64::MAX).is_empty(), "{plan:?}");
        assert_eq!(plan.warnings(1000).len(), 1, "{plan:?}");
    }
}

#[test]
fn the_steps_are_commands_that_do_it() {
    let place = tempfile::tempdir().unwrap();
    world::vault(place.path(), 200, 100);
    let members = "a=http://127.0.0.1:1,b=http://127.0.0.1:2";
    let flags = format!(
        "restore c --latest --data-dir {}/m --name a --initial-cluster {members} --initial-advertise-peer-urls \
         http://127.0.0.1:1 --bump-revision auto --mark-compacted --dry-run -w json",
        place.path().display()
    );
    let planned = world::revkeep(place.path(), &flags);
    assert!(planned.status.success(), "{planned:?}");
    let plan: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    let steps = plan.get("steps").unwrap().as_array().unwrap();
    assert_eq!(steps.len(), 4, "{plan}");
    let mut dirs = Vec::new();
    for step in steps.iter().take(2) {
        let member = step.get("member").unwrap().as_str().unwrap();
        let command = step.get("command").unwrap().as_str().unwrap();
        // As if on a machine of its own.
        let command = command.replace("/m ", &format!("/{member} "));
        let folder = std::path::Path::new(world::REVKEEP).parent().unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        let ran = shell
            .args(["-c", &format!("{command} -w json")])
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{command}: {ran:?}");
        let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        for (planned, real) in [("requests", "requests"), ("bytes", "bytes")] {
            let planned = plan.pointer(&format!("/estimate/fetches/{planned}"));
            let real = report.pointer(&format!("/fetched/{real}"));
            let (planned, real) = (planned.unwrap().as_u64(), real.unwrap().as_u64());
            let (planned, real) = (planned.unwrap(), real.unwrap());
            // The record of the vault's last look for bumps is not read by a number.
            assert!(
                planned.abs_diff(real) <= real * 15 / 100 + 4,
                "planned {planned}, real {real}"
            );
        }
        assert_eq!(
            report.get("bump").unwrap().get("amount"),
            plan.pointer("/bump/amount")
        );
        dirs.push(place.path().join(member).join("member/snap/db"));
    }
    let [a, b] = [&dirs[0], &dirs[1]].map(|db| std::fs::read(db).unwrap());
    assert!(a == b, "the members' databases differ");

    let seen = world::revkeep(place.path(), "restore c --latest --dry-run");
    let seen = String::from_utf8(seen.stdout).unwrap();
    for line in [
        "fetches ",
        "takes ",
        "needs on disk ",
        "  revkeep restore c --vault file://",
        "  etcd --data-dir ",
    ] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
}
