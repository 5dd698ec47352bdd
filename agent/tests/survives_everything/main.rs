//! The promise: whatever fails, together and at any moment, every revision in coverage comes back exactly, every other one is
//! in a named gap, and nothing was called durable that was not in the vault.
//!
//! Each run draws a world from its seed: a source (etcd or the store, one member or three), an S3 server that refuses,
//! throttles, delays, loses answers, gives wrong bytes, lists late or ignores conditions, one to three agents, and a story:
//! agents that die at named places in the code, by SIGKILL or of a full disk, while members of the source are killed, its
//! leader moves, it compacts what nobody has captured yet, and it is restored to an older revision. The rows are compared with a model that has its own watch.
//!
//! `REVKEEP_RUNS` says how many worlds (a few unless set), `REVKEEP_SEED` from which seed on (the same ones unless set): one run can
//! be repeated alone. `REVKEEP_JOBS` says how many are told side by side, each on a source of its own.
//! Twenty or more fail when there is a named place in the code at which no agent ever ended.

#![allow(
    clippy::pedantic,
    clippy::large_futures,
    reason = "a test is read as a story, and its futures may be large"
)]

mod chronicle;
mod invariants;
mod lives;
mod model;
mod places;
mod plan;
mod promises;
mod source;
mod world;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use revkeep_harness::{EtcdVersion, free_port};
use tokio::sync::Mutex;

use crate::places::{Place, Places};
use crate::plan::Plan;
use crate::source::{Source, kinds};
use crate::world::World;

/// Runs, unless `REVKEEP_RUNS` says otherwise.
const RUNS: u64 = 6;
/// From this seed on, unless `REVKEEP_SEED` says otherwise.
const SEED: u64 = 500_001;
/// Worlds that are told side by side, unless `REVKEEP_JOBS` says otherwise: they mostly wait.
const JOBS: u64 = 2;
/// From so many wanted runs on, every place must be reached.
const ALL_PLACES: u64 = 20;
/// Runs on one source: starting it takes as long as a run.
const RUNS_PER_SOURCE: u64 = 7;
/// Beyond the wanted runs, so many more until every place was reached.
const MORE_RUNS: u64 = 40;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_what_is_covered_is_exact_and_what_is_not_is_named() -> Result<()> {
    let kinds = kinds()?;
    if kinds.is_empty() {
        return Ok(());
    }
    let runs = from_environment("REVKEEP_RUNS").unwrap_or(RUNS);
    let everywhere = runs >= ALL_PLACES;
    let first = from_environment("REVKEEP_SEED").unwrap_or(SEED);
    eprintln!("REVKEEP_SEED={first} REVKEEP_RUNS={runs}");
    let jobs = from_environment("REVKEEP_JOBS").unwrap_or(JOBS).max(1);
    let places = Places::read()?;
    let (groups, missing) = (Groups::of(first, runs), BTreeSet::new());
    let told = Mutex::new((BTreeSet::new(), chronicle::Totals::default()));
    let line = |_| async {
        // Its agents have the same ports in all runs, for there are not thousands of them.
        let ports = (0..3).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        while let Some(seeds) = groups.next() {
            Box::pin(worlds(&kinds, seeds, &places, &missing, &ports, &told)).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    futures::future::try_join_all((0..jobs).map(line)).await?;
    let mut extra = runs..runs + MORE_RUNS;
    loop {
        let missing = places.but(&told.lock().await.0);
        let missing = BTreeSet::from_iter(missing);
        let Some(number) = extra.next().filter(|_| everywhere && !missing.is_empty()) else {
            break;
        };
        let seed = first.wrapping_add(number);
        let ports = (0..3).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        Box::pin(worlds(
            &kinds,
            seed..seed + 1,
            &places,
            &missing,
            &ports,
            &told,
        ))
        .await?;
    }
    let (reached, totals) = told.into_inner();
    eprintln!("{totals}");
    let never = places.but(&reached);
    ensure!(
        !everywhere || never.is_empty(),
        "no agent ever ended at {never:?}"
    );
    Ok(())
}

/// The seeds, in groups that have one source: no group is told by two at once.
struct Groups {
    left: std::sync::Mutex<Range<u64>>,
}

impl Groups {
    fn of(first: u64, runs: u64) -> Self {
        Self {
            left: std::sync::Mutex::new(first..first.saturating_add(runs)),
        }
    }

    fn next(&self) -> Option<Range<u64>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let end = (left.start / RUNS_PER_SOURCE + 1) * RUNS_PER_SOURCE;
        let group = left.start..end.min(left.end);
        left.start = group.end;
        (!group.is_empty()).then_some(group)
    }
}

/// Tells the stories of some seeds, one after the other, on one source. Where places are missing, the stories try those.
async fn worlds(
    kinds: &[EtcdVersion],
    seeds: Range<u64>,
    places: &Places,
    missing: &BTreeSet<Place>,
    ports: &[u16],
    told: &Mutex<(BTreeSet<Place>, chronicle::Totals)>,
) -> Result<()> {
    // By the seed alone, so that a run that is repeated has the same.
    let mut rng = StdRng::seed_from_u64(!(seeds.start / RUNS_PER_SOURCE));
    let mut source = Source::start(kinds, &mut rng).await?;
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let wanted = if missing.is_empty() {
            places.turn(seed)
        } else {
            missing.iter().copied().collect()
        };
        let plan = Plan::draw(&mut rng, source.size(), &wanted);
        let began = Instant::now();
        let outcome = Box::pin(World::run(seed, &plan, &mut source, ports)).await;
        let chronicle = outcome
            .with_context(|| format!("REVKEEP_SEED={seed} REVKEEP_RUNS=1, {source}, {plan:?}"))?;
        eprintln!(
            "seed {seed}, {source}: {chronicle}, {:.1?}",
            began.elapsed()
        );
        let mut told = told.lock().await;
        told.0.extend(chronicle.reached.iter().copied());
        told.1.add(&chronicle);
    }
    Ok(())
}
