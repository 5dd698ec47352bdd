//! A vault that grows, by a clock of its own, and the rules and locks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::RngExt;
use rand::rngs::StdRng;
use revkeep_schemas::names::PinName;
use revkeep_schemas::{Revision, RowBuf};
use revkeep_vault::lock::{Lock, LockMode, Locked};
use revkeep_vault::retention::{Plan, Rules, Survey, plan};
use revkeep_vault::{
    BaseFacts, BaseManifest, ChunkName, Coverage, Piece, PinRecord, ReadOptions, SourceIdentity,
    Timeline, TimelineId, Vault,
};

use super::clock::{Shared, View};
use super::dates::Dates;
use super::world::{Rows, SMALL, read_all, rows, segment};

pub(crate) const LAST: i64 = 600;

pub(crate) fn prefix() -> Path {
    Path::from("some/prefix")
}

/// A vault that grows, by a clock of its own.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) view: Arc<View>,
    pub(crate) dates: Arc<Dates>,
    pub(crate) timeline: Timeline,
    pub(crate) rows: Vec<RowBuf>,
    pub(crate) top: i64,
    pub(crate) pins: usize,
    pub(crate) previous: Option<BaseManifest>,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let shared = Shared::new(seed);
        let view = View::new(&shared, usize::MAX);
        let dates = Dates::new(&view, &shared);
        let vault = Vault::create_with_store(view.clone(), prefix())
            .await
            .unwrap();
        let vault = vault.with_retention_dates(dates.clone());
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let timeline = cluster
            .create_timeline(SourceIdentity::default(), None)
            .await
            .unwrap();
        Self {
            shared,
            view,
            dates,
            timeline,
            rows: rows(2..LAST, 200),
            top: 1,
            pins: 0,
            previous: None,
        }
    }

    /// The same vault, opened by another program.
    pub(crate) async fn opened_again(&self) -> Timeline {
        let vault = Vault::with_store(self.view.clone(), prefix())
            .await
            .unwrap();
        let vault = vault.with_retention_dates(self.dates.clone());
        let cluster = vault.cluster(&"prod".parse().unwrap());
        cluster.newest_timeline().await.unwrap().unwrap()
    }

    pub(crate) async fn base(&mut self) {
        let there: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.key.main.0 <= self.top)
            .cloned()
            .collect();
        let facts = BaseFacts {
            revision: Revision(self.top),
            ..BaseFacts::default()
        };
        let base = self
            .timeline
            .write_base_with(facts, Rows::of(&there), self.previous.as_ref(), SMALL)
            .await;
        self.previous = Some(base.unwrap());
    }

    pub(crate) async fn segment(&mut self, count: i64) {
        let (first, last) = (self.top + 1, (self.top + count).min(LAST - 1));
        if first <= last {
            let sealed = segment(&self.timeline, &self.rows, first, last);
            self.timeline.put_segment(&sealed).await.unwrap();
            self.top = last;
        }
    }

    pub(crate) async fn pin(&mut self, revision: i64, expires: Option<DateTime<Utc>>) {
        self.pins += 1;
        let record = PinRecord {
            timeline: TimelineId::FIRST,
            revision: Revision(revision),
            reason: String::new(),
            created_unix_ms: 0,
            expires_unix_ms: expires.map(|end| end.timestamp_millis()),
        };
        let name = PinName::new(format!("pin-{}", self.pins)).unwrap();
        self.timeline
            .cluster()
            .set_pin(&name, &record)
            .await
            .unwrap();
    }

    pub(crate) async fn grow(&mut self, random: &mut StdRng) {
        self.shared
            .advance(TimeDelta::minutes(random.random_range(1..2_500)));
        match random.random_range(0..12) {
            0..4 => self.base().await,
            4..10 => self.segment(random.random_range(1..20)).await,
            10 => {
                let revision = random.random_range(1..=self.top);
                let ends = TimeDelta::hours(random.random_range(1..100));
                let ends = random.random_bool(0.5).then(|| self.shared.now() + ends);
                self.pin(revision, ends).await;
            }
            _ => {
                let at = Revision(random.random_range(1..=self.top));
                self.timeline.put_gap(at, at, "a test").await.unwrap();
            }
        }
    }

    pub(crate) async fn planned(&self, rules: &Rules) -> (Survey, Plan) {
        let cluster = self.timeline.cluster();
        let survey = cluster.survey_whole(self.shared.now()).await.unwrap();
        let planned = plan(&survey.history, rules, &Utc);
        (survey, planned)
    }

    /// What the plan keeps, told from everything that is there by its name alone.
    pub(crate) async fn needed(&self, rules: &Rules) -> BTreeSet<Path> {
        let (survey, planned) = self.planned(rules).await;
        let whole = |name: &str| Path::from(format!("{}/{name}", prefix()));
        let mut stays = BTreeSet::new();
        let mut chunks: BTreeSet<ChunkName> = BTreeSet::new();
        for (timeline, plan) in survey.history.timelines.iter().zip(&planned.timelines) {
            for decision in plan
                .bases
                .iter()
                .chain(&plan.segments)
                .filter(|one| one.stays())
            {
                stays.insert(whole(&decision.name));
            }
            for base in &timeline.bases {
                if stays.contains(&whole(&base.name)) {
                    chunks.extend(base.chunks.iter().map(|(chunk, _)| *chunk));
                }
            }
        }
        let cluster = self.timeline.cluster();
        stays.extend(
            chunks
                .into_iter()
                .map(|chunk| whole(&cluster.chunk_path(chunk))),
        );
        let live = |pin: &&revkeep_vault::retention::Pinned| {
            pin.expires.is_none_or(|end| end > self.shared.now())
        };
        let pins = survey.history.pins.iter().filter(live);
        stays.extend(pins.map(|pin| whole(&format!("clusters/prod/pins/{}", pin.name))));
        let all: Vec<_> = self.view.list(Some(&prefix())).try_collect().await.unwrap();
        stays.extend(all.into_iter().map(|meta| meta.location).filter(|path| {
            let name = path.as_ref();
            name.contains("/gaps/") || name.ends_with("/timeline") || name.ends_with("/FORMAT")
        }));
        stays
    }

    /// Objects whose date reaches that far.
    pub(crate) fn held_until(&self, until: DateTime<Utc>) -> BTreeSet<Path> {
        let held = self.dates.held.lock().unwrap();
        let long = held.iter().filter(|(_, held)| held.until >= until);
        long.map(|(path, _)| path.clone()).collect()
    }

    /// Somebody deletes whatever the store lets go of. Everything that the rules keep can still be brought back.
    pub(crate) async fn survives_whoever_deletes(&self, rules: &Rules, seed: u64) {
        let (_, planned) = self.planned(rules).await;
        let decisions = planned
            .timelines
            .iter()
            .flat_map(|plan| plan.bases.iter().chain(&plan.segments));
        let stays: BTreeSet<&str> = decisions
            .filter(|one| one.stays())
            .map(|one| one.name.as_str())
            .collect();
        let mut kept = self.timeline.inventory().await.unwrap();
        kept.bases.retain(|base| stays.contains(base.name.as_str()));
        kept.segments
            .retain(|segment| stays.contains(segment.name.as_str()));
        let promised = Coverage::compute(&kept);

        let left = InMemory::new();
        for path in self.held_until(self.shared.now()) {
            // What was let go since has a date still, and may be gone already.
            if let Ok(got) = self.view.get(&path).await {
                left.put(&path, got.bytes().await.unwrap().into())
                    .await
                    .unwrap();
            }
        }
        let vault = Vault::with_store(Arc::new(left), prefix()).await.unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let timeline = cluster.newest_timeline().await.unwrap().unwrap();
        let inventory = timeline.inventory().await.unwrap();
        let coverage = Coverage::compute(&inventory);
        for revision in (1..=self.top).map(Revision) {
            assert!(
                coverage.contains(revision) || !promised.contains(revision),
                "seed {seed}: {revision}"
            );
        }
        for base in inventory
            .bases
            .iter()
            .filter(|base| stays.contains(base.name.as_str()))
        {
            let chunks = base.manifest.chunks.iter().copied().map(Piece::Chunk);
            let read = timeline.read_rows(chunks.collect(), ReadOptions::default());
            let read = read_all(read).await.unwrap();
            assert_eq!(read.len() as u64, base.manifest.rows, "seed {seed}");
        }
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        window: TimeDelta::days(2),
        daily: 2,
        monthly: 0,
        minimum: 1,
        grace: TimeDelta::zero(),
        ..Rules::default()
    }
}

pub(crate) fn lock(mode: LockMode, days: i64) -> Lock {
    Lock {
        mode,
        length: TimeDelta::days(days),
    }
}

pub(crate) async fn run(timeline: &Timeline, lock: &Lock) -> Locked {
    timeline
        .cluster()
        .lock_kept(lock, &rules(), &Utc)
        .await
        .unwrap()
}
