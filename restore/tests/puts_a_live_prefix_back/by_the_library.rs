//! How keys are put back while others write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, Compare, CompareOp, EventType, Txn, TxnOp, WatchOptions};
use revkeep_harness::{Etcd, base_etcd, store};
use revkeep_restore::Kind;
use revkeep_restore::live::{Live, LivePlan, Options, apply, read, read_at_most};
use tokio::sync::watch;

use super::cluster::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_keys_are_put_back_in_seconds() -> Result<()> {
    const KEYS: usize = 10_000;
    for version in servers()? {
        let server = Etcd::start(&version).await?;
        let client = server.client().await?;
        put_all(&client, KEYS + 7, "now").await?;
        let live = Live::of(&client, TIMEOUT);
        let options = Options {
            delete_extra: true,
            ..Options::default()
        };
        let started = Instant::now();
        let plan = LivePlan::decide(was(KEYS), read(&live, PREFIX.as_bytes()).await?, options);
        ensure!(plan.counts() == (KEYS, 7), "{:?}", plan.counts());
        let applied = apply(&live, &plan.steps, &not_cancelled(), |_| Ok(())).await?;
        let took = started.elapsed();
        ensure!(
            (applied.put, applied.deleted) == (KEYS, 7) && applied.conflicts.is_empty(),
            "{applied:?}"
        );
        eprintln!(
            "{version}: {KEYS} keys read, put back and 7 deleted in {} ms",
            took.as_millis()
        );
        // Nothing is left to do.
        let again = LivePlan::decide(was(KEYS), read(&live, PREFIX.as_bytes()).await?, options);
        ensure!(
            again.steps.is_empty() && again.unchanged == KEYS,
            "{:?}",
            again.counts()
        );
    }
    Ok(())
}

/// Writes random keys over and over, each write guarded by what it saw. Gives the revisions of its writes, which were acknowledged.
async fn writer(
    client: Client,
    name: usize,
    keys: usize,
    ended: Arc<AtomicBool>,
) -> Result<BTreeSet<(i64, String)>> {
    let mut written = BTreeSet::new();
    let mut kv = client.kv_client();
    let mut n = name;
    while !ended.load(Ordering::Relaxed) {
        n = (n * 31 + 7) % keys;
        let key = key(n);
        let seen = kv.get(key.clone(), None).await?;
        let seen = seen
            .kvs()
            .first()
            .map_or(0, etcd_client::KeyValue::mod_revision);
        let put = Txn::new()
            .when([Compare::mod_revision(key.clone(), CompareOp::Equal, seen)])
            .and_then([TxnOp::put(key.clone(), format!("writer {name}"), None)]);
        let answer = kv.txn(put).await?;
        if answer.succeeded() {
            written.insert((answer.header().context("a header")?.revision(), key));
        }
    }
    Ok(written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_a_thousand_writers_is_lost() -> Result<()> {
    const KEYS: usize = 3_000;
    const WRITERS: usize = 1_000;
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, KEYS, "now").await?;
    let begin = server.revision().await?;
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|name| tokio::spawn(writer(client.clone(), name, KEYS, ended.clone())))
        .collect();
    let live = Live::of(&client, TIMEOUT);
    let plan = LivePlan::decide(
        was(KEYS),
        read(&live, PREFIX.as_bytes()).await?,
        Options::default(),
    );
    // The writers have the time to come between the plan and what is done of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let applied = apply(&live, &plan.steps, &not_cancelled(), |_| Ok(())).await?;
    ended.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await??);
    }
    let end = server.revision().await?;

    // What really happened, in order, as the server tells it.
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(begin + 1)
        .with_prev_key();
    let mut events = client.watch_client().watch(PREFIX, Some(options)).await?;
    let seen: BTreeMap<_, _> = plan
        .steps
        .iter()
        .map(|step| (step.key.clone(), step.seen))
        .collect();
    let (mut put_back, mut told) = (BTreeSet::new(), BTreeSet::new());
    'all: while let Some(answer) = events.message().await? {
        for event in answer.events() {
            ensure!(event.event_type() == EventType::Put);
            let kv = event.kv().context("a key")?;
            if kv.value().starts_with(b"was ") {
                let before = event
                    .prev_kv()
                    .context("what was there before")?
                    .mod_revision();
                let planned = seen[kv.key()];
                ensure!(
                    before == planned,
                    "a write at {before} was lost, where the plan saw {planned}"
                );
                put_back.insert(kv.key().to_vec());
            } else {
                told.insert((kv.mod_revision(), String::from_utf8(kv.key().to_vec())?));
            }
            if kv.mod_revision() >= end {
                break 'all;
            }
        }
    }
    ensure!(
        acknowledged.is_subset(&told),
        "an acknowledged write is not in the history"
    );
    let conflicts: BTreeSet<_> = applied
        .conflicts
        .iter()
        .map(|conflict| conflict.key.clone())
        .collect();
    ensure!(
        put_back.len() == applied.put,
        "{} were put back, not {}",
        put_back.len(),
        applied.put
    );
    ensure!(put_back.is_disjoint(&conflicts) && put_back.len() + conflicts.len() == KEYS);
    ensure!(
        !put_back.is_empty() && !conflicts.is_empty(),
        "{} and {}",
        put_back.len(),
        conflicts.len()
    );
    for conflict in &applied.conflicts {
        let key = String::from_utf8(conflict.key.clone())?;
        ensure!(
            told.contains(&(conflict.found, key)),
            "{conflict:?} never happened"
        );
    }
    eprintln!(
        "{version}: {} writes of {WRITERS} writers, {} keys put back, {} conflicts",
        told.len(),
        put_back.len(),
        conflicts.len()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_told_whatever_ends_it() -> Result<()> {
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, 300, "now").await?;
    let live = Live::of(&client, TIMEOUT);
    let mut wished = was(300);
    // More than a request may have: etcd refuses it.
    wished[7].value = vec![0; 4 << 20].into();
    let is = read(&live, PREFIX.as_bytes()).await?;
    let plan = LivePlan::decide(wished, is, Options::default());

    let before = server.revision().await?;
    let (_sender, cancelled) = watch::channel(true);
    let interrupted = apply(&live, &plan.steps, &cancelled, |_| Ok(())).await;
    let interrupted = interrupted.unwrap_err();
    ensure!(
        interrupted.error.kind() == Kind::Interrupted,
        "{interrupted:?}"
    );
    ensure!(interrupted.applied.put == 0 && interrupted.failed.is_empty());
    ensure!(server.revision().await? == before);

    let mut told = BTreeSet::new();
    let going_on = not_cancelled();
    let unfinished = apply(&live, &plan.steps, &going_on, |done| {
        told.extend(done.iter().map(|step| step.key.clone()));
        Ok(())
    });
    let unfinished = unfinished.await.unwrap_err();
    ensure!(unfinished.failed == [key(7).into_bytes()], "{unfinished:?}");
    let put: BTreeSet<_> = values(&client)
        .await
        .into_iter()
        .filter(|kv| kv.1 != "now")
        .collect();
    ensure!(put.len() == unfinished.applied.put && !put.is_empty());
    ensure!(put.iter().all(|kv| told.contains(kv.0.as_bytes())) && told.len() == put.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_can_be_held_is_refused() -> Result<()> {
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, 700, "now").await?;
    let live = Live::of(&client, TIMEOUT);
    let bytes = 700 * (key(0).len() + 3) as u64;
    ensure!(
        read_at_most(&live, PREFIX.as_bytes(), bytes)
            .await?
            .keys
            .len()
            == 700
    );
    let refused = read_at_most(&live, PREFIX.as_bytes(), bytes - 1).await;
    let refused = refused.unwrap_err().to_string();
    ensure!(refused.contains("Try: a longer --prefix"), "{refused}");
    Ok(())
}
