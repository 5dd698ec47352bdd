//! Random operations on a real etcd and on the store, side by side: every answer is equal field by field, every watch
//! tells the same, and HashKV is equal in between and at the end.
//!
//! `REVKEEP_SEEDS` says how many seeds are tried (4 unless set), `REVKEEP_SEED` which one is the first (or, with
//! `REVKEEP_SEEDS=1`, repeats one), `REVKEEP_STEPS` how many operations each has (600 unless set).

#![allow(clippy::indexing_slicing, reason = "a test that fails says where")]

mod generator;
mod operation;
mod side;
mod watches;

use anyhow::{Context, Result, ensure};
use generator::Generator;
use operation::Operation;
use revkeep_harness::{Etcd, EtcdVersion, etcd_series, store};
use side::Side;
use std::collections::VecDeque;

/// How many operations before a difference are told.
const TOLD: usize = 12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn every_answer_is_etcds() -> Result<()> {
    let (Some(etcd), Some(store)) = (etcd_series(3, 5), store()?) else {
        return Ok(());
    };
    let steps = number("REVKEEP_STEPS").unwrap_or(600);
    let first = number("REVKEEP_SEED").unwrap_or(1);
    let seeds = first..first + number("REVKEEP_SEEDS").unwrap_or(4);
    for seed in seeds {
        eprintln!("seed {seed}, {steps} steps");
        run(&etcd, &store, seed, steps).await.with_context(|| {
            format!("repeat with REVKEEP_SEEDS=1 REVKEEP_SEED={seed} REVKEEP_STEPS={steps}")
        })?;
    }
    Ok(())
}

async fn run(etcd: &EtcdVersion, store: &EtcdVersion, seed: u64, steps: u64) -> Result<()> {
    let (etcd, store) = tokio::try_join!(Etcd::start(etcd), Etcd::start(store))?;
    let mut etcd = Side::connect(&etcd.endpoint()).await?;
    let mut store = Side::connect(&store.endpoint()).await?;
    let mut generator = Generator::new(seed);
    let mut before = VecDeque::new();
    for step in 0..steps {
        let operation = generator.operation();
        if before.len() == TOLD {
            before.pop_front();
        }
        before.push_back(format!("{step}: {operation:?}"));
        both(&mut etcd, &mut store, &mut generator, operation)
            .await
            .with_context(|| told(&before))?;
    }
    for operation in generator.last() {
        before.push_back(format!("at the end: {operation:?}"));
        both(&mut etcd, &mut store, &mut generator, operation)
            .await
            .with_context(|| told(&before))?;
    }
    Ok(())
}

fn told(before: &VecDeque<String>) -> String {
    let lines: Vec<_> = before.iter().map(String::as_str).collect();
    format!("after\n{}\n", lines.join("\n"))
}

/// Does one operation on both and compares what they say.
async fn both(
    etcd: &mut Side,
    store: &mut Side,
    generator: &mut Generator,
    operation: Operation,
) -> Result<()> {
    let (expected, got) = tokio::try_join!(etcd.answer(&operation), store.answer(&operation))?;
    // What a compaction was hashed as is kept for a while, and told with the compact revision before it.
    let of_another_compaction = match (expected.compact_revision, got.compact_revision) {
        (Some(one), Some(other)) => one != other && generator.was_compacted_at(&operation),
        _ => false,
    };
    ensure!(
        expected.text == got.text || of_another_compaction,
        "etcd:  {}\nstore: {}",
        expected.text,
        got.text
    );
    generator.learn(&operation, &expected);
    Ok(())
}
