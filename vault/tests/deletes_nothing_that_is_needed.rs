//! Agents write bases and segments while retention deletes, on one store, in random order, and any of them may stop at
//! any request: what the rules promise can be brought back at every moment.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[path = "world/clock.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod clock;
#[allow(dead_code, reason = "other tests use what this one does not")]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use clock::{Shared, View};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use revkeep_schemas::{Revision, RowBuf};
use revkeep_vault::retention::{Progress, Rules};
use revkeep_vault::{
    BaseFacts, BaseManifest, Coverage, ErrorKind, Piece, ReadOptions, SourceIdentity, Timeline,
    Vault, VaultError,
};
use world::{Rows, SMALL, read_all, rows, segment};

const LAST: i64 = 1_500;

/// Schedules that are tried; `REVKEEP_RUNS` asks for more, `REVKEEP_SEED` for others.
fn seeds() -> Range<u64> {
    let asked =
        |name, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let first = asked("REVKEEP_SEED", 1);
    first..first + asked("REVKEEP_RUNS", 15)
}

fn prefix() -> Path {
    Path::from("v")
}

/// A range that was acknowledged, and when the store took it.
type Acknowledged = (i64, i64, DateTime<Utc>);

/// What all programs take part in.
struct World {
    shared: Arc<Shared>,
    rows: Vec<RowBuf>,
    /// How far the source is, and how far it is compacted.
    source: AtomicI64,
    compacted: AtomicI64,
    bases: Mutex<Vec<Acknowledged>>,
    segments: Mutex<Vec<Acknowledged>>,
    /// The highest first revision of a window at the end of a sweep.
    floor: AtomicI64,
    sweeps: AtomicUsize,
    rules: Rules,
}

impl World {
    fn new(seed: u64) -> Self {
        let shared = Shared::new(seed);
        let count = || shared.below(3);
        let rules = Rules {
            window: TimeDelta::minutes(30),
            hourly: count(),
            daily: count(),
            keep_last: count(),
            monthly: 0,
            minimum: 1,
            grace: TimeDelta::minutes(i64::from(count()) * 40),
            ..Rules::default()
        };
        Self {
            rows: rows(2..LAST, 300),
            source: AtomicI64::new(1),
            compacted: AtomicI64::new(0),
            bases: Mutex::default(),
            segments: Mutex::default(),
            floor: AtomicI64::new(0),
            sweeps: AtomicUsize::new(0),
            rules,
            shared,
        }
    }

    /// The rows that the source has at its revision, compacted as it is.
    fn snapshot(&self) -> (BaseFacts, Vec<RowBuf>) {
        let revision = self.source.load(Ordering::Relaxed);
        let compact = self.compacted.load(Ordering::Relaxed);
        let key = |row: &RowBuf| row.key.main.0 % 17;
        let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.key.main.0 <= compact) {
            newest.insert(key(row), row.key.main.0);
        }
        let there = |row: &&RowBuf| {
            let main = row.key.main.0;
            main <= revision && (main > compact || newest.get(&key(row)) == Some(&main))
        };
        let facts = BaseFacts {
            revision: Revision(revision),
            compact_revision: Revision(compact),
            ..BaseFacts::default()
        };
        (facts, self.rows.iter().filter(there).cloned().collect())
    }

    fn stored(&self, name: &str) -> DateTime<Utc> {
        self.shared
            .stored(&Path::from(format!("{}/{name}", prefix())))
    }

    /// The first revision that the window must still hold now. What an agent stores again does not count: it could only
    /// make the promise greater.
    fn window(&self) -> i64 {
        let since = self.shared.now() - self.rules.window;
        let mut top = 0;
        let mut first = i64::MAX;
        for (from, to, stored) in self.segments.lock().unwrap().iter() {
            if *to > top && *stored >= since {
                first = first.min(*from);
            }
            top = top.max(*to);
        }
        first.min(top)
    }
}

async fn open(view: &Arc<View>) -> Result<Timeline, VaultError> {
    let vault = Vault::create_with_store(view.clone(), prefix()).await?;
    let cluster = vault.cluster(&"prod".parse().unwrap());
    match cluster.newest_timeline().await? {
        Some(timeline) => Ok(timeline),
        None => {
            cluster
                .create_timeline(SourceIdentity::default(), None)
                .await
        }
    }
}

/// One life of an agent.
async fn agent(world: &World, view: Arc<View>) -> Result<(), VaultError> {
    let timeline = open(&view).await?;
    let mut previous: Option<BaseManifest> = timeline.newest().await?.map(|newest| newest.base);
    loop {
        let step = world.shared.below(10);
        world
            .shared
            .advance(TimeDelta::minutes(i64::from(world.shared.below(12))));
        if previous.is_none() || step < 3 {
            let (facts, rows) = world.snapshot();
            let revision = facts.revision.0;
            let compact = facts.compact_revision.0;
            let base = timeline
                .write_base_with(facts, Rows::of(&rows), previous.as_ref(), SMALL)
                .await;
            match base {
                Ok(base) => {
                    let now = world.shared.now();
                    world
                        .bases
                        .lock()
                        .unwrap()
                        .push((compact.max(1), revision, now));
                    previous = Some(base);
                }
                // It was given up: take another.
                Err(error) if error.kind() == ErrorKind::Retry => {}
                Err(error) => return Err(error),
            }
        } else if step < 9 {
            let Some(cursor) = timeline.cursor().await? else {
                continue;
            };
            let top = world.source.load(Ordering::Relaxed) + 1 + i64::from(world.shared.below(8));
            let top = top.min(LAST - 1);
            world.source.fetch_max(top, Ordering::Relaxed);
            let first = (cursor.0 + 1 - i64::from(world.shared.below(3))).max(2);
            if first > top {
                return Ok(());
            }
            let sealed = segment(&timeline, &world.rows, first, top);
            let stored = timeline.put_segment(&sealed).await?;
            let at = world.stored(&stored.name);
            world.segments.lock().unwrap().push((first, top, at));
        } else {
            let top = world.source.load(Ordering::Relaxed);
            let by = i64::from(world.shared.below(60));
            let compact = (world.compacted.load(Ordering::Relaxed) + by).min(top);
            world.compacted.fetch_max(compact, Ordering::Relaxed);
        }
    }
}

/// One life of whoever deletes.
async fn sweeper(world: &World, view: Arc<View>) -> Result<(), VaultError> {
    let timeline = open(&view).await?;
    loop {
        world
            .shared
            .advance(TimeDelta::minutes(i64::from(world.shared.below(40))));
        match timeline
            .cluster()
            .apply_retention(&world.rules, &Utc)
            .await?
        {
            Progress::Swept { left, .. } => {
                assert_eq!(left, []);
                world.sweeps.fetch_add(1, Ordering::Relaxed);
            }
            Progress::Marked { round, .. } if world.shared.below(8) == 0 => {
                let _ = timeline.cluster().take_back(round).await;
            }
            Progress::WaitsFor { .. } => world.shared.advance(TimeDelta::hours(1)),
            _ => {}
        }
        world.floor.fetch_max(world.window(), Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// Runs a program until it stops.
async fn live(view: Arc<View>, life: impl Future<Output = Result<(), VaultError>>) {
    let stopped = async {
        while !view.stopped() {
            tokio::task::yield_now().await;
        }
        // What it had asked for before may still be answered.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = life => {
            if let Err(error) = ended {
                assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
            }
        }
        () = stopped => {}
    }
}

/// Everything that is listed can be read, and everything that is promised is covered.
async fn check(world: &World, seed: u64) {
    let view = View::new(&world.shared, usize::MAX);
    let timeline = open(&view).await.unwrap();
    let inventory = timeline.inventory().await.unwrap();
    assert_eq!(inventory.damaged, [], "seed {seed}");
    for base in &inventory.bases {
        let pieces = base
            .manifest
            .chunks
            .iter()
            .copied()
            .map(Piece::Chunk)
            .collect();
        let read = read_all(timeline.read_rows(pieces, ReadOptions::default())).await;
        let read = read.unwrap_or_else(|error| panic!("seed {seed}: {}: {error}", base.name));
        assert_eq!(read.len() as u64, base.manifest.rows, "seed {seed}");
    }
    let coverage = Coverage::compute(&inventory);
    let floor = world.floor.load(Ordering::Relaxed).max(world.window());
    // A segment leads on from a base that reaches it.
    let mut reach: Vec<(i64, i64)> = world
        .bases
        .lock()
        .unwrap()
        .iter()
        .map(|base| (base.0, base.1))
        .collect();
    let segments = world.segments.lock().unwrap().clone();
    loop {
        let before = reach.clone();
        for (first, last, _) in &segments {
            for base in &mut reach {
                if *first <= base.1 + 1 {
                    base.1 = base.1.max(*last);
                }
            }
        }
        if reach == before {
            break;
        }
    }
    for (first, last) in reach {
        for revision in first.max(floor)..=last {
            assert!(
                coverage.contains(Revision(revision)),
                "seed {seed}: {revision} from {floor}"
            );
        }
    }
}

/// Everything that stands but what retention and probes write themselves.
async fn data(world: &World) -> BTreeSet<String> {
    let view = View::new(&world.shared, usize::MAX);
    let all: Vec<_> = view.list(Some(&prefix())).try_collect().await.unwrap();
    let names = all.into_iter().map(|meta| meta.location.to_string());
    let data = ["/bases/", "/segments/", "/chunks/"];
    names
        .filter(|name| data.iter().any(|folder| name.contains(folder)))
        .collect()
}

/// Sweepers alone, until each has stopped.
async fn sweepers(world: &World) {
    let life = || View::new(&world.shared, 1 + world.shared.below(400) as usize);
    let (one, two) = (life(), life());
    tokio::join!(
        live(one.clone(), sweeper(world, one)),
        live(two.clone(), sweeper(world, two)),
    );
}

/// Once a chunk of a base is lost, no object goes: any of them may be part of the only path that is left. What was decided
/// before, still goes.
#[tokio::test]
async fn while_a_base_lacks_a_chunk_nothing_goes() {
    let (mut refusals, mut later) = (0, 0);
    for seed in seeds() {
        let world = World::new(seed);
        let life = || View::new(&world.shared, 300);
        let (one, two, three) = (life(), life(), life());
        tokio::join!(
            live(one.clone(), agent(&world, one)),
            live(two.clone(), agent(&world, two)),
            live(three.clone(), sweeper(&world, three)),
        );
        let timeline = open(&View::new(&world.shared, usize::MAX)).await.unwrap();
        // Ends what was decided.
        let apply = async || timeline.cluster().apply_retention(&world.rules, &Utc).await;
        world.shared.advance(TimeDelta::hours(12));
        let _nothing_is_lost_yet = apply().await.unwrap();
        let bases = timeline.inventory().await.unwrap().bases;
        // Both agents may have stopped before they had finished one.
        let chunks = bases.iter().flat_map(|base| &base.manifest.chunks);
        let chunks: Vec<_> = chunks.collect();
        if chunks.is_empty() {
            continue;
        }
        let chunk = chunks[world.shared.below(u32::try_from(chunks.len()).unwrap()) as usize];
        let lost = format!("{}/{}", prefix(), timeline.cluster().chunk_object(chunk));
        let view = View::new(&world.shared, usize::MAX);
        let content = view.get(&Path::from(lost.as_str())).await.unwrap();
        let content = content.bytes().await.unwrap();
        view.delete(&Path::from(lost.as_str())).await.unwrap();

        let before = data(&world).await;
        // Much would go by age.
        world.shared.advance(TimeDelta::days(60));
        for _ in 0..3 {
            match apply().await {
                Err(error) if error.kind() == ErrorKind::Refused => refusals += 1,
                other => {
                    let done = other.unwrap();
                    assert!(!matches!(done, Progress::Swept { .. }), "seed {seed}");
                }
            }
            world.shared.advance(TimeDelta::hours(12));
        }
        // A void may have come, in the place of a base that was never finished.
        let gone: Vec<_> = before.difference(&data(&world).await).cloned().collect();
        assert!(gone.is_empty(), "seed {seed}: {gone:?}");
        // Mended, it goes on.
        view.put(&Path::from(lost.as_str()), content.into())
            .await
            .unwrap();
        sweepers(&world).await;
        later += before.difference(&data(&world).await).count();
    }
    assert!(
        refusals > 0 && later > 0,
        "{refusals} refusals, {later} went"
    );
}

#[tokio::test]
async fn whatever_the_order_of_requests() {
    let mut sweeps = 0;
    for seed in seeds() {
        let world = World::new(seed);
        for _ in 0..4 {
            let life = |most| View::new(&world.shared, 1 + world.shared.below(most) as usize);
            let (one, two) = (life(300), life(300));
            let (third, fourth) = (life(400), life(400));
            tokio::join!(
                live(one.clone(), agent(&world, one)),
                live(two.clone(), agent(&world, two)),
                live(third.clone(), sweeper(&world, third)),
                live(fourth.clone(), sweeper(&world, fourth)),
            );
            check(&world, seed).await;
        }
        sweeps += world.sweeps.load(Ordering::Relaxed);
    }
    assert!(sweeps > 0, "nothing was deleted, so nothing was shown");
    eprintln!("{sweeps} sweeps");
}
