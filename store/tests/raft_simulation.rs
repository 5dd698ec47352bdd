//! The promise: whatever happens to hosts, links and disks, the members agree on one order of commands, in which every
//! acknowledged command is, once; and no read that asks not to be stale is.
//!
//! `REVKEEP_SEEDS` says how many seeds are tried (4 unless set), `REVKEEP_SEED` which one is the first (or, with
//! `REVKEEP_SEEDS=1`, repeats one).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]

mod simulation;

use simulation::{FaultMix, JournalMember, Options, run};

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number("REVKEEP_SEED", 1);
    first..first + number("REVKEEP_SEEDS", default)
}

#[test]
fn three_members_agree_whatever_happens() {
    for seed in seeds(3) {
        let outcome = run(seed, Options::default(), &JournalMember::default()).unwrap();
        println!(
            "seed {seed}: {} writes, {} reads, {} faults, {} starts",
            outcome.writes, outcome.reads, outcome.faults, outcome.starts
        );
        assert!(
            outcome.writes > 50,
            "seed {seed}: hardly anything was written: {outcome:?}"
        );
    }
}

#[test]
fn five_members_agree_whatever_happens() {
    for seed in seeds(1) {
        let options = Options {
            members: 5,
            ..Options::default()
        };
        let outcome = run(seed, options, &JournalMember::default()).unwrap();
        println!(
            "seed {seed}: {} writes, {} reads, {} faults, {} starts",
            outcome.writes, outcome.reads, outcome.faults, outcome.starts
        );
        assert!(
            outcome.writes > 50,
            "seed {seed}: hardly anything was written: {outcome:?}"
        );
    }
}

#[test]
fn one_member_survives_every_kill() {
    for seed in seeds(2) {
        let options = Options {
            members: 1,
            ..Options::default()
        };
        let outcome = run(seed, options, &JournalMember::default()).unwrap();
        assert!(
            outcome.writes > 50,
            "seed {seed}: hardly anything was written: {outcome:?}"
        );
    }
}

#[test]
fn without_faults_everything_is_acknowledged() {
    let options = Options {
        faults: FaultMix::NONE,
        duration: std::time::Duration::from_secs(8),
        ..Options::default()
    };
    let outcome = run(9, options, &JournalMember::default()).unwrap();
    assert_eq!(outcome.writes, outcome.rows.len());
    assert_eq!(outcome.starts, 3);
}
