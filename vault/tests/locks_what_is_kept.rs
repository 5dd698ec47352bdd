//! Object lock: what has a date is what kept points need, dates are renewed, and none is ever made earlier.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test fails by a panic"
)]

#[path = "world/clock.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod clock;
#[path = "world/dates.rs"]
mod dates;
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clock::{Shared, View};
use dates::Dates;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_schemas::Revision;
use revkeep_schemas::RowBuf;
use revkeep_schemas::names::PinName;
use revkeep_vault::lock::{Lock, LockMode, Locked, Retention};
use revkeep_vault::retention::{Plan, Rules, Survey, plan};
use revkeep_vault::{
    BaseFacts, BaseManifest, ChunkName, Coverage, ErrorKind, Head, Piece, PinRecord, ReadOptions,
    SourceIdentity, Timeline, TimelineId, Vault,
};
use world::{Rows, SMALL, read_all, rows, segment};

const LAST: i64 = 600;

fn prefix() -> Path {
    Path::from("some/prefix")
}

/// A vault that grows, by a clock of its own.
struct World {
    shared: Arc<Shared>,
    view: Arc<View>,
    dates: Arc<Dates>,
    timeline: Timeline,
    rows: Vec<RowBuf>,
    top: i64,
    pins: usize,
    previous: Option<BaseManifest>,
}

impl World {
    async fn new(seed: u64) -> Self {
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
    async fn opened_again(&self) -> Timeline {
        let vault = Vault::with_store(self.view.clone(), prefix())
            .await
            .unwrap();
        let vault = vault.with_retention_dates(self.dates.clone());
        let cluster = vault.cluster(&"prod".parse().unwrap());
        cluster.newest_timeline().await.unwrap().unwrap()
    }

    async fn base(&mut self) {
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

    async fn segment(&mut self, count: i64) {
        let (first, last) = (self.top + 1, (self.top + count).min(LAST - 1));
        if first <= last {
            let sealed = segment(&self.timeline, &self.rows, first, last);
            self.timeline.put_segment(&sealed).await.unwrap();
            self.top = last;
        }
    }

    async fn pin(&mut self, revision: i64, expires: Option<DateTime<Utc>>) {
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

    async fn grow(&mut self, random: &mut StdRng) {
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

    async fn planned(&self, rules: &Rules) -> (Survey, Plan) {
        let cluster = self.timeline.cluster();
        let survey = cluster.survey_whole(self.shared.now()).await.unwrap();
        let planned = plan(&survey.history, rules, &Utc);
        (survey, planned)
    }

    /// What the plan keeps, told from everything that is there by its name alone.
    async fn needed(&self, rules: &Rules) -> BTreeSet<Path> {
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
    fn held_until(&self, until: DateTime<Utc>) -> BTreeSet<Path> {
        let held = self.dates.held.lock().unwrap();
        let long = held.iter().filter(|(_, held)| held.until >= until);
        long.map(|(path, _)| path.clone()).collect()
    }

    /// Somebody deletes whatever the store lets go of. Everything that the rules keep can still be brought back.
    async fn survives_whoever_deletes(&self, rules: &Rules, seed: u64) {
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

fn rules() -> Rules {
    Rules {
        window: TimeDelta::days(2),
        daily: 2,
        monthly: 0,
        minimum: 1,
        grace: TimeDelta::zero(),
        ..Rules::default()
    }
}

fn lock(mode: LockMode, days: i64) -> Lock {
    Lock {
        mode,
        length: TimeDelta::days(days),
    }
}

async fn run(timeline: &Timeline, lock: &Lock) -> Locked {
    timeline
        .cluster()
        .lock_kept(lock, &rules(), &Utc)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_kept_points_need_is_held_and_nothing_else_is() {
    let (mut set, mut let_go) = (0, 0);
    for seed in 0..16 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut world = World::new(seed).await;
        world.base().await;
        let lock = lock(LockMode::Governance, random.random_range(1..20));
        for _ in 0..8 {
            for _ in 0..random.random_range(1..6) {
                world.grow(random).await;
            }
            let before = world.shared.now();
            let locked = run(&world.timeline, &lock).await;
            assert_eq!(locked.failed, [], "seed {seed}");
            let (_, fresh) = world.dates.take();
            let needed = world.needed(&rules()).await;
            let held = world.held_until(before + lock.length / 2);
            let open: Vec<_> = needed.difference(&held).collect();
            assert!(open.is_empty(), "seed {seed}: not held: {open:?}");
            let idle: Vec<_> = fresh.difference(&needed).collect();
            assert!(idle.is_empty(), "seed {seed}: nobody needs {idle:?}");
            assert_eq!(
                (locked.set, locked.covered),
                (fresh.len(), needed.len() - fresh.len())
            );
            world.survives_whoever_deletes(&rules(), seed).await;
            set += fresh.len();

            // The same program asks for nothing again, another one for each date once; neither sets any.
            let again = run(&world.timeline, &lock).await;
            assert_eq!((again.set, again.covered), (0, needed.len()), "seed {seed}");
            assert_eq!(world.dates.take().0, 0, "seed {seed}");
            let other = run(&world.opened_again().await, &lock).await;
            assert_eq!((other.set, other.covered), (0, needed.len()), "seed {seed}");
            assert_eq!(
                world.dates.take(),
                (needed.len(), BTreeSet::new()),
                "seed {seed}"
            );

            let applied = world
                .timeline
                .cluster()
                .apply_retention(&rules(), &Utc)
                .await;
            let_go += usize::from(
                applied.unwrap() != revkeep_vault::retention::Progress::NothingToDelete,
            );
        }
    }
    assert!(
        set > 200 && let_go > 20,
        "{set} dates, {let_go} rounds: too few to mean anything"
    );
}

#[tokio::test]
async fn dates_are_renewed_and_a_shorter_policy_shortens_none() {
    let mut world = World::new(1).await;
    world.base().await;
    world.segment(9).await;
    let path = Path::from(format!("{}/FORMAT", prefix()));
    let long = lock(LockMode::Governance, 10);
    let first = run(&world.timeline, &long).await;
    assert!(first.set > 3 && first.bytes > 0, "{first:?}");
    world
        .shared
        .advance(TimeDelta::days(5) - TimeDelta::hours(1));
    assert_eq!(
        run(&world.timeline, &long).await.set,
        0,
        "half of it is left"
    );
    world.shared.advance(TimeDelta::hours(2));
    let renewed = run(&world.timeline, &long).await;
    assert_eq!(renewed.set, first.set, "less than half of it is left");
    let until = world.dates.of(&path).unwrap().until;
    assert!(until > first.until && until >= world.shared.now() + long.length - TimeDelta::hours(1));
    let short = run(&world.timeline, &lock(LockMode::Governance, 2)).await;
    assert_eq!(
        (short.set, world.dates.of(&path).unwrap().until),
        (0, until)
    );

    // A person held one longer, after this program had seen its date: it is not shortened when that is due.
    let far = Retention {
        mode: LockMode::Governance,
        until: until + TimeDelta::days(900),
    };
    world.dates.held.lock().unwrap().insert(path.clone(), far);
    world.shared.advance(TimeDelta::days(8));
    let after = run(&world.timeline, &long).await;
    assert_eq!((after.set, after.covered), (first.set - 1, 1));
    assert_eq!(world.dates.of(&path), Some(far));
}

#[tokio::test]
async fn a_stricter_policy_renews_what_it_may_not_make_stricter() {
    let mut world = World::new(2).await;
    world.base().await;
    let before = run(&world.timeline, &lock(LockMode::Governance, 4))
        .await
        .set;
    let strict = lock(LockMode::Compliance, 6);
    let locked = run(&world.timeline, &strict).await;
    assert_eq!(
        (locked.covered, locked.weaker),
        (before, before),
        "four of six days are left"
    );
    world.segment(5).await;
    let strict = lock(LockMode::Compliance, 60);
    let locked = run(&world.timeline, &strict).await;
    assert_eq!((locked.set, locked.weaker), (before + 1, before));
    locked.complete().unwrap();
    let held = world.dates.held.lock().unwrap();
    assert!(held.values().all(|held| held.until == locked.until));
    let compliance = held
        .iter()
        .filter(|(_, held)| held.mode == LockMode::Compliance);
    let compliance: Vec<_> = compliance.map(|(path, _)| path.to_string()).collect();
    assert!(
        compliance.len() == 1 && compliance[0].contains("/segments/"),
        "{compliance:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_locked_is_named_and_the_rest_is_locked() {
    let mut world = World::new(3).await;
    world.base().await;
    world.segment(5).await;
    let head = Head::default();
    world.timeline.cluster().put_head(&head).await.unwrap();
    *world.dates.refuses.lock().unwrap() = Some("/segments/");
    let locked = run(&world.timeline, &lock(LockMode::Governance, 4)).await;
    assert_eq!(locked.failed.len(), 1, "{locked:?}");
    assert!(
        locked.failed[0].name.contains("/segments/")
            && locked.failed[0].reason.contains("not this one")
    );
    let error = locked.complete().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("nothing is deleted in this run"),
        "{error}"
    );
    assert_eq!(locked.set, world.needed(&rules()).await.len() - 1);
    assert!(
        world
            .dates
            .held
            .lock()
            .unwrap()
            .keys()
            .all(|path| !path.as_ref().ends_with("/head"))
    );

    let plain = Vault::with_store(world.view.clone(), prefix())
        .await
        .unwrap();
    let cluster = plain.cluster(&"prod".parse().unwrap());
    let error = cluster
        .lock_kept(&lock(LockMode::Governance, 4), &rules(), &Utc)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains("object lock dates are supported on S3 only"),
        "{error}"
    );
}
