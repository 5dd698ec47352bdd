//! The promise: whatever happens to hosts, links, disks and clocks, what was acknowledged is there, once and in one
//! order; reads are not stale; watchers miss nothing; and all members hold the same in the end.
//!
//! Members are put together as in production and serve gRPC in a simulated network. `REVKEEP_RUNS` says how many seeds
//! are tried for each size of cluster, `REVKEEP_SEED` which one is the first, and `REVKEEP_LOG` what is logged of them.
//! `deploy/dev/simulate SEED` repeats one exactly: it builds with `--cfg tokio_unstable`, because tokio leaves to chance
//! which of several ready branches or waiting tasks comes first (`select!`, `watch`), and takes that from the seed only then.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says where"
)]
#![allow(unexpected_cfgs, reason = "tokio's own, set by deploy/dev/simulate")]

mod simulated_store;
mod simulation;

use std::time::Duration;

use simulated_store::{Options, run};
use simulation::FaultMix;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok();
    value.map(|value| value.parse().unwrap())
}

/// Runs the seeds and prints each; fails with all that failed.
fn try_seeds(first: u64, default: u64, options: Options) {
    let first = number("REVKEEP_SEED").unwrap_or(first);
    let runs = number("REVKEEP_RUNS").unwrap_or(default);
    let mut failures = Vec::new();
    let mut writes = 0;
    for seed in first..first + runs {
        let members = options.members;
        match run(seed, options) {
            Ok(outcome) => {
                println!("seed {seed}, {members} members: {outcome:?}");
                writes += outcome.verdict.writes;
            }
            Err(error) => {
                println!("seed {seed}, {members} members FAILED: {error}");
                failures.push(format!("seed {seed}: {error}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {runs} runs failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(
        writes as u64 > runs * 50,
        "hardly anything was written: {writes} in {runs} runs"
    );
}

#[test]
fn three_members_keep_their_promises() {
    try_seeds(1, 3, Options::default());
}

#[test]
fn five_members_keep_their_promises() {
    let options = Options {
        members: 5,
        ..Options::default()
    };
    try_seeds(1, 1, options);
}

/// Without the seed for tokio's own chance, a seed repeats the faults and what clients try, and most of what comes of it.
#[test]
#[cfg_attr(not(tokio_unstable), ignore = "for deploy/dev/simulate")]
fn the_same_seed_is_the_same_history() {
    let seed = number("REVKEEP_SEED").unwrap_or(7);
    for members in [3, 5] {
        let options = Options {
            members,
            ..Options::default()
        };
        let [one, other] = [(); 2].map(|()| run(seed, options).unwrap());
        assert_eq!(one, other);
    }
}

#[test]
fn without_faults_every_call_is_answered() {
    let options = Options {
        faults: FaultMix::NONE,
        duration: Duration::from_secs(5),
        clients: 3,
        ..Options::default()
    };
    let outcome = run(5, options).unwrap();
    assert!(outcome.verdict.writes > 50, "{outcome:?}");
    assert!(outcome.verdict.reads > 20, "{outcome:?}");
    assert_eq!(outcome.faults, 0, "{outcome:?}");
    assert!(
        outcome.starts <= 3 + outcome.changes as u64 + 1,
        "{outcome:?}"
    );
}
