//! The promise: an agent that is killed at any moment loses nothing and invents nothing.
//!
//! A real etcd is written to all the time while a real agent captures it, is killed (SIGKILL) at random moments and is
//! started again. At the end the vault must cover every revision in one range without a gap, and every row that it holds
//! must be the source's own, byte for byte.
//!
//! `REVKEEP_KILLS` says how often the agent is killed (20 unless set); `REVKEEP_SEED` repeats the moments of a run.

mod rows;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, DeleteOptions, Txn, TxnOp};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use revkeep_harness::product::{Agent, VaultPlace};
use revkeep_harness::workload::Workload;
use revkeep_harness::{Etcd, etcd_series};
use revkeep_schemas::Revision;
use revkeep_vault::Coverage;
use rows::{Held, Rows, compare, rows_of_source, timeline};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Kills, unless `REVKEEP_KILLS` says otherwise.
const KILLS: usize = 20;
/// Tasks that write at once.
const WRITERS: u64 = 4;
/// Between two writes of one task.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two steps of the workload with leases and large values.
const STEP_PAUSE: Duration = Duration::from_millis(40);
/// How long an agent may live before it is killed.
const LIFE_MS: std::ops::RangeInclusive<u64> = 50..=700;
/// One life in so many lasts until something new is in the vault, so that a slow machine makes progress too.
const FRUITFUL: usize = 4;
/// How long the agent may take to store something new, or to catch up.
const PROGRESS_WITHIN: Duration = Duration::from_secs(120);
/// Leases of the workload that end by themselves have done so when nothing was written for so long.
const QUIET: Duration = Duration::from_secs(3);

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Puts, deletes, ranges and transactions on few keys, until `stop`.
async fn write(mut etcd: Client, seed: u64, stop: CancellationToken) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.is_cancelled() {
        let key = format!("w/{}", rng.random_range(0..60));
        let mut value = vec![0; rng.random_range(0..300)];
        rng.fill_bytes(&mut value);
        match rng.random_range(0..10) {
            0..6 => drop(etcd.put(key, value, None).await?),
            6 => drop(etcd.delete(key, None).await?),
            7 => {
                let range = DeleteOptions::new().with_range(format!("{key}~"));
                etcd.delete(key, Some(range)).await?;
            }
            _ => {
                let puts = (0..rng.random_range(1..9))
                    .map(|n| TxnOp::put(format!("t{n}/{key}"), value.clone(), None));
                let operations: Vec<_> = puts.chain([TxnOp::delete(key.clone(), None)]).collect();
                etcd.txn(Txn::new().and_then(operations)).await?;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The workload with leases, large values and a key changed twice in one revision, until `stop`.
async fn write_all_kinds(mut etcd: Client, seed: u64, stop: CancellationToken) -> Result<()> {
    let mut workload = Workload::without_compactions(seed);
    while !stop.is_cancelled() {
        workload.step(&mut etcd).await?;
        tokio::time::sleep(STEP_PAUSE).await;
    }
    Ok(())
}

async fn start_writers(
    etcd: &Etcd,
    seed: u64,
    stop: &CancellationToken,
) -> Result<JoinSet<Result<()>>> {
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let client = etcd.client().await?;
        writers.spawn(write(client, seed.wrapping_add(n), stop.clone()));
    }
    writers.spawn(write_all_kinds(etcd.client().await?, seed, stop.clone()));
    Ok(writers)
}

/// How far the vault reaches from its newest base.
async fn reached(place: &VaultPlace) -> Result<Option<Revision>> {
    match timeline(place).await? {
        Some(timeline) => Ok(timeline.cursor().await?),
        None => Ok(None),
    }
}

async fn wait_until_reached(place: &VaultPlace, at_least: Revision) -> Result<()> {
    let deadline = Instant::now() + PROGRESS_WITHIN;
    loop {
        let now = reached(place).await?;
        if now >= Some(at_least) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the vault reaches {now:?}, not {at_least}, after {PROGRESS_WITHIN:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The source's newest revision, once nothing writes any more.
async fn settled(etcd: &Etcd) -> Result<Revision> {
    let mut before = etcd.revision().await?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = etcd.revision().await?;
        if now == before {
            return Ok(Revision(now));
        }
        before = now;
    }
}

/// Starts and kills agents. Says how many of them left something new in the vault.
async fn kill_again_and_again(
    rng: &mut StdRng,
    kills: usize,
    vault: &VaultPlace,
    start: impl Fn() -> Result<Agent>,
) -> Result<usize> {
    let mut fruitful = 0;
    for life in 1..=kills {
        let before = reached(vault).await?;
        let mut agent = start()?;
        let delay = Duration::from_millis(rng.random_range(LIFE_MS));
        if life % FRUITFUL == 0 {
            let next = before.map_or(Revision::INITIAL, Revision::next);
            wait_until_reached(vault, next).await?;
        }
        tokio::time::sleep(delay).await;
        agent
            .kill()
            .with_context(|| format!("kill {life} of {kills}"))?;
        let after = reached(vault).await?;
        ensure!(
            before <= after,
            "kill {life}: the vault reached {before:?}, then {after:?}"
        );
        fruitful += usize::from(before < after);
    }
    Ok(fruitful)
}

async fn check_vault(vault: &VaultPlace, last: Revision, source: &Rows) -> Result<()> {
    let timeline = timeline(vault).await?.context("no timeline")?;
    let all = timeline.cluster().timelines().await?;
    ensure!(all.len() == 1, "{} timelines of one history", all.len());
    let inventory = timeline.inventory().await?;
    ensure!(
        inventory.damaged.is_empty() && inventory.gaps.is_empty(),
        "damaged {:?}, gaps {:?}",
        inventory.damaged,
        inventory.gaps
    );
    // Nothing was compacted, so the first base reaches back to the beginning.
    let coverage = Coverage::compute(&inventory);
    let whole = vec![(Revision::INITIAL, last)];
    ensure!(
        coverage.ranges == whole && coverage.gaps.is_empty(),
        "covered {coverage:?}, not {whole:?}"
    );
    let held = Held::all(&timeline, &inventory).await?;
    compare(source, &held.rows)?;
    eprintln!(
        "{} rows up to revision {last} are the same; {} bases, {} segments, {} rows held more than once",
        held.rows.len(),
        inventory.bases.len(),
        inventory.segments.len(),
        held.again
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_loses_or_invents_a_row() -> Result<()> {
    let Some(version) = etcd_series(3, 5) else {
        return Ok(());
    };
    let kills = from_environment("REVKEEP_KILLS").unwrap_or(KILLS);
    let seed = from_environment("REVKEEP_SEED").unwrap_or_else(rand::random);
    eprintln!("REVKEEP_SEED={seed} REVKEEP_KILLS={kills}, etcd {version}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = TempDir::with_prefix("revkeep-killed-")?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let mut etcd = Etcd::start(&version).await?;
    let stop = CancellationToken::new();
    let mut writers = start_writers(&etcd, seed, &stop).await?;
    let (home, endpoints) = (folder.path().join("agent"), etcd.endpoints());
    let start = || Agent::start(&home, &endpoints, &vault, &["--flush-interval", "100ms"]);

    let fruitful = kill_again_and_again(&mut rng, kills, &vault, start).await?;
    eprintln!("{fruitful} of {kills} killed agents had stored something new");
    let agent = start()?;
    stop.cancel();
    while let Some(written) = writers.join_next().await {
        written?.context("a writer")?;
    }
    let last = settled(&etcd).await?;
    wait_until_reached(&vault, last).await?;
    agent.stop().await?;
    etcd.stop().await?;
    let source = rows_of_source(&etcd.db_file())?;
    let newest = source.last_key_value().context("no rows")?.0.main;
    ensure!(
        newest == last,
        "the source went on to {newest} after {last}"
    );
    check_vault(&vault, last, &source).await
}
