//! Vaults with a random history: what agents, people, retention and bad disks do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use revkeep_harness::{FaultyStore, Request};
use revkeep_schemas::Revision;
use revkeep_schemas::names::{ClusterName, PinName, TimelineId};
use revkeep_vault::catalog::{Catalog, SyncOptions, SyncReport};
use revkeep_vault::{
    BaseFacts, Checkpoint, Cluster, Head, PinRecord, ProofKind, Receipt, SourceIdentity, Timeline,
    Vault,
};

use crate::rows::{Rows, SMALL, row};

/// Requests that the store was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) lists: AtomicUsize,
    pub(crate) gets: AtomicUsize,
}

impl Asked {
    /// Lists and gets since the last call.
    pub(crate) fn take(&self) -> (usize, usize) {
        (
            self.lists.swap(0, Ordering::Relaxed),
            self.gets.swap(0, Ordering::Relaxed),
        )
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<InMemory>,
    pub(crate) vault: Vault,
    pub(crate) asked: Arc<Asked>,
    pub(crate) random: StdRng,
    /// What each cluster's agent would write into its head.
    heads: BTreeMap<ClusterName, Head>,
    /// The segments that were stored of the timelines of these heads.
    stored: BTreeMap<ClusterName, Vec<(Revision, Revision)>>,
    /// A clock that moves on with every step, and sometimes back.
    clock_ms: i64,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let store = Arc::new(InMemory::new());
        let asked = Arc::new(Asked::default());
        let counting = Arc::clone(&asked);
        let counted = FaultyStore::new(
            Arc::clone(&store) as Arc<dyn ObjectStore>,
            move |request, _| {
                match request {
                    Request::List => counting.lists.fetch_add(1, Ordering::Relaxed),
                    Request::Get => counting.gets.fetch_add(1, Ordering::Relaxed),
                    Request::Put => 0,
                };
                None
            },
        );
        let vault = Vault::create_with_store(Arc::new(counted), Path::from("p"))
            .await
            .unwrap();
        Self {
            store,
            vault,
            asked,
            random: StdRng::seed_from_u64(seed),
            heads: BTreeMap::new(),
            stored: BTreeMap::new(),
            clock_ms: 1_700_000_000_000,
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.clock_ms).unwrap()
    }

    /// Has a catalog see what is there now.
    pub(crate) async fn fill(&self, catalog: &Catalog) -> SyncReport {
        let options = SyncOptions::default();
        let filled = catalog.sync(&self.vault, &options, self.now()).await;
        filled.unwrap()
    }

    pub(crate) fn cluster(&self, name: &str) -> Cluster {
        self.vault.cluster(&name.parse().unwrap())
    }

    pub(crate) fn random_below(&mut self, bound: i64) -> i64 {
        self.below(bound)
    }

    fn below(&mut self, bound: i64) -> i64 {
        self.random.random_range(0..bound)
    }

    /// The newest timeline of a cluster, opened if there is none.
    pub(crate) async fn timeline(&mut self, name: &str) -> Timeline {
        let cluster = self.cluster(name);
        match cluster.newest_timeline().await {
            Ok(Some(timeline)) => timeline,
            // Of a damaged record the number is known.
            Err(_) => {
                let ids = cluster.timeline_ids().await.unwrap();
                self.open(name, ids.last().copied()).await
            }
            Ok(None) => self.open(name, None).await,
        }
    }

    async fn open(&mut self, name: &str, parent: Option<TimelineId>) -> Timeline {
        let source = SourceIdentity {
            cluster_id: self.random.random(),
            etcd_version: "3.5.1".to_owned(),
            first_seen_unix_ms: self.clock_ms,
            ..SourceIdentity::default()
        };
        let fork = Revision(self.below(40));
        let parent = parent.map(|parent| (parent, fork));
        let cluster = self.cluster(name);
        cluster.create_timeline(source, parent).await.unwrap()
    }

    /// Stores the segment `[first, last]`; each revision is seen a moment after the one before.
    pub(crate) async fn segment(&mut self, timeline: &Timeline, level: u8, first: i64, last: i64) {
        let mut writer = timeline.segment_writer(level, 1);
        for main in first..=last {
            self.clock_ms += self.random.random_range(0..9_000);
            let row = row(main, 0, 20);
            writer
                .push_revision(&[row.as_row()], self.clock_ms)
                .unwrap();
        }
        timeline
            .put_segment(&writer.finish().unwrap())
            .await
            .unwrap();
        let name = timeline.cluster().name().clone();
        self.head_of(timeline);
        let stored = self.stored.entry(name).or_default();
        stored.push((Revision(first), Revision(last)));
        self.durable(timeline);
    }

    /// Stores a base of few rows at a revision.
    pub(crate) async fn base(&mut self, timeline: &Timeline, compact: i64, revision: i64) {
        let first = (revision - 3).max(1);
        let rows: Vec<_> = (first..=revision).map(|main| row(main, 0, 20)).collect();
        let checkpoint = self.below(2) == 0;
        let facts = BaseFacts {
            revision: Revision(revision),
            compact_revision: Revision(compact),
            started_unix_ms: self.clock_ms,
            finished_unix_ms: self.clock_ms + 10,
            checkpoint: checkpoint.then_some(Checkpoint {
                revision: Revision(revision),
                compact_revision: Revision(compact),
                hash: 4711,
            }),
            etcd_version: "3.5.1".to_owned(),
            ..BaseFacts::default()
        };
        timeline
            .write_base_with(facts, Rows::of(&rows), None, SMALL)
            .await
            .unwrap();
        let head = self.head_of(timeline);
        head.base_revision = Revision(revision).max(head.base_revision);
        self.durable(timeline);
    }

    fn head_of(&mut self, timeline: &Timeline) -> &mut Head {
        let name = timeline.cluster().name().clone();
        let head = self.heads.entry(name.clone()).or_default();
        if head.timeline != timeline.id() {
            self.stored.remove(&name);
            *head = Head {
                timeline: timeline.id(),
                ..Head::default()
            };
        }
        head
    }

    /// What the agent knows to be durable: as far as nothing is missing, whatever is stored beyond that. The source has all of it.
    fn durable(&mut self, timeline: &Timeline) {
        let now = self.clock_ms;
        let stored = self.stored.get(timeline.cluster().name());
        let mut stored = stored.cloned().unwrap_or_default();
        let head = self.head_of(timeline);
        let mut reached = head.durable_revision.max(head.base_revision);
        let mut source = reached;
        stored.sort_unstable();
        for (first, last) in stored {
            if first <= reached.next() {
                reached = last.max(reached);
            }
            source = last.max(source);
        }
        head.durable_revision = reached;
        head.source_revision = source;
        head.heartbeat_unix_ms = now;
    }

    /// Time passes.
    pub(crate) fn sleep(&mut self, ms: i64) {
        self.clock_ms += ms;
    }

    /// What the head that is written next says to be durable.
    pub(crate) fn durable_of(&mut self, timeline: &Timeline) -> Revision {
        self.head_of(timeline).durable_revision
    }

    /// Writes the head as the agent of the cluster would.
    pub(crate) async fn put_head(&mut self, name: &str) {
        let name: ClusterName = name.parse().unwrap();
        let now = self.clock_ms;
        if let Some(head) = self.heads.get_mut(&name) {
            head.heartbeat_unix_ms = now;
            self.vault.cluster(&name).put_head(head).await.unwrap();
        }
    }

    /// All objects of a cluster, sorted.
    pub(crate) async fn objects(&self, name: &str) -> Vec<Path> {
        let prefix = Path::from(format!("p/clusters/{name}"));
        let listed = self.store.list(Some(&prefix));
        let listed: Vec<_> = listed
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .unwrap();
        let mut listed: Vec<Path> = listed;
        listed.sort();
        listed
    }

    /// Something happens to one of `clusters` clusters.
    pub(crate) async fn step(&mut self, clusters: i64) {
        let name = format!("c{}", self.below(clusters));
        self.clock_ms += self.below(60_000) - 10_000;
        match self.below(21) {
            0..=7 => {
                let timeline = self.timeline(&name).await;
                let head = self.head_of(&timeline).durable_revision.0;
                // The next one, one that another agent has too, or one after a hole.
                let first = (head + 1 + self.below(6) - 3).max(1);
                let last = first + self.below(6);
                let level = u8::try_from(self.below(8) / 7).unwrap();
                self.segment(&timeline, level, first, last).await;
            }
            8..=10 => {
                let timeline = self.timeline(&name).await;
                let head = self.head_of(&timeline).durable_revision.0;
                let revision = (head + self.below(3)).max(1);
                let compact = (revision - self.below(9)).max(0);
                self.base(&timeline, compact, revision).await;
            }
            11 => {
                let timeline = self.timeline(&name).await;
                let head = self.head_of(&timeline).durable_revision.0;
                let first = Revision((head - self.below(20)).max(1));
                let last = Revision(first.0 + self.below(5));
                if self.below(3) == 0 {
                    let put = timeline.put_distrust(first, last, "another member said otherwise");
                    put.await.unwrap();
                } else {
                    timeline.put_gap(first, last, "compacted").await.unwrap();
                }
            }
            12 => {
                let timeline = self.timeline(&name).await;
                let ids = timeline.cluster().timeline_ids().await.unwrap();
                self.open(&name, ids.last().copied()).await;
            }
            13 => self.pin(&name).await,
            20 => {
                let drill = self.below(2) == 0;
                let receipt = Receipt {
                    kind: if drill {
                        ProofKind::Drill
                    } else {
                        ProofKind::Verification
                    },
                    sound: self.below(3) > 0,
                    summary: "as it went".to_owned(),
                    ended_unix_ms: self.clock_ms,
                    took_ms: 5,
                    timeline: TimelineId(u32::from(drill)),
                    revision: Revision(self.below(40)),
                    compact_revision: Revision::ZERO,
                    hash: 0,
                    server: String::new(),
                    objects: 3,
                    bytes: 4,
                    findings: 0,
                };
                self.cluster(&name).put_receipt(&receipt).await.unwrap();
            }
            14 | 15 => self.put_head(&name).await,
            16 | 17 => self.remove_one(&name).await,
            18 => self.damage_one(&name).await,
            _ => {
                // A policy that lets nearly everything go; what is damaged makes it refuse.
                let rules = revkeep_vault::retention::Rules {
                    window: chrono::TimeDelta::zero(),
                    grace: chrono::TimeDelta::zero(),
                    daily: 0,
                    monthly: 0,
                    minimum: 1,
                    ..revkeep_vault::retention::Rules::default()
                };
                let cluster = self.cluster(&name);
                let _refused = cluster.apply_retention(&rules, &Utc).await;
            }
        }
    }

    async fn pin(&mut self, name: &str) {
        let cluster = self.cluster(name);
        let pin: PinName = format!("pin-{}", self.below(3)).parse_pin();
        if self.below(3) == 0 {
            cluster.remove_pin(&pin).await.unwrap();
            return;
        }
        let record = PinRecord {
            timeline: TimelineId::FIRST,
            revision: Revision(1 + self.below(50)),
            reason: "for a test".to_owned(),
            created_unix_ms: self.clock_ms,
            expires_unix_ms: None,
        };
        // There may be one of this name already, or it may come too late.
        let _set = cluster.set_pin(&pin, &record).await;
    }

    async fn remove_one(&mut self, name: &str) {
        let objects = self.objects(name).await;
        if let Ok(bound) = i64::try_from(objects.len())
            && bound > 0
        {
            let at = usize::try_from(self.below(bound)).unwrap();
            self.store.delete(&objects[at]).await.unwrap();
        }
    }

    async fn damage_one(&mut self, name: &str) {
        let objects = self.objects(name).await;
        if objects.is_empty() {
            return;
        }
        let at = self.random.random_range(0..objects.len());
        let got = self.store.get(&objects[at]).await.unwrap();
        let mut bytes = got.bytes().await.unwrap().to_vec();
        if bytes.is_empty() {
            return;
        }
        let bit = self.random.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if self.below(3) == 0 {
            bytes.truncate(bit / 8);
        }
        self.store.put(&objects[at], bytes.into()).await.unwrap();
    }
}

trait ParsePin {
    fn parse_pin(&self) -> PinName;
}

impl ParsePin for String {
    fn parse_pin(&self) -> PinName {
        PinName::new(self.as_str()).unwrap()
    }
}
