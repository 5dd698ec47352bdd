//! The promise: whatever fails, together and at any moment, every revision in coverage comes back exactly, every other one is
//! in a named gap, and nothing was called durable that was not in the vault.
//!
//! Each run draws a world from its seed: a source (etcd or the store, one member or three), an S3 server that refuses,
//! throttles, delays, loses answers, gives wrong bytes, lists late or ignores conditions, one to three agents, and a story:
//! agents that die at named places in the code, by SIGKILL or of a full disk, while members of the source are killed, its
//! leader moves, it compacts what nobody has captured yet, and it is restored to an older revision. The rows are compared with a model that has its own watch.
//!
//! `REVKEEP_RUNS` says how many worlds (a few unless set), `REVKEEP_SEED` from which seed on (the same ones unless set): one run can
//! be repeated alone.
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
mod source;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::places::Places;
use crate::plan::Plan;
use crate::source::{Source, kinds};
use crate::world::World;

/// Runs, unless `REVKEEP_RUNS` says otherwise.
const RUNS: u64 = 6;
/// From this seed on, unless `REVKEEP_SEED` says otherwise.
const SEED: u64 = 500_001;
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
    let places = Places::read()?;
    let mut reached = BTreeSet::new();
    let mut source = None;
    let mut sources = None;
    let mut totals = chronicle::Totals::default();
    for number in 0..runs + MORE_RUNS {
        let missing = places.but(&reached);
        if number >= runs && (missing.is_empty() || !everywhere) {
            break;
        }
        let seed = first.wrapping_add(number);
        let mut rng = StdRng::seed_from_u64(seed);
        // By the seed alone, so that a run that is repeated has the same.
        let group = seed / RUNS_PER_SOURCE;
        if sources != Some(group) {
            drop(source.take());
            let mut rng = StdRng::seed_from_u64(!group);
            source = Some(Source::start(&kinds, &mut rng).await?);
            sources = Some(group);
        }
        let source = source.as_mut().context("no source")?;
        let wanted = if number < runs {
            places.turn(seed)
        } else {
            missing
        };
        let plan = Plan::draw(&mut rng, source.size(), &wanted);
        let began = Instant::now();
        let outcome = Box::pin(World::run(seed, &plan, source)).await;
        let chronicle = outcome.with_context(|| {
            format!("REVKEEP_SEED={seed} REVKEEP_RUNS=1, run {number}, {source}, {plan:?}")
        })?;
        eprintln!(
            "run {number}, seed {seed}, {source}: {chronicle}, {:.1?}",
            began.elapsed()
        );
        reached.extend(chronicle.reached.iter().copied());
        totals.add(&chronicle);
    }
    eprintln!("{totals}");
    let never = places.but(&reached);
    ensure!(
        !everywhere || never.is_empty(),
        "no agent ever ended at {never:?}"
    );
    Ok(())
}
