//! The promise, for real processes with real disks: members that are killed, paused and cut off at any moment, under
//! concurrent clients, lose nothing that was acknowledged, apply nothing twice, serve no stale read and no watcher with a
//! gap, and hold the same in the end.
//!
//! `REVKEEP_ROUNDS` says how many faults there are (10 unless set), `REVKEEP_SEED` which and in which order, and
//! `REVKEEP_MEMBERS` how many members (3).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says where"
)]

mod simulated_store;
mod simulation;

use std::time::Duration;

use anyhow::{Result, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_harness::{Etcd, EtcdCluster, EtcdOptions, Gate, free_port, store};
use simulated_store::Processes;
use tokio::time::sleep;

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

/// Members that reach each other through gates.
struct Cluster {
    members: Vec<Etcd>,
    gates: Vec<Gate>,
    ports: Vec<u16>,
}

impl Cluster {
    async fn start(size: u64) -> Result<Option<Self>> {
        let Some(version) = store()? else {
            return Ok(None);
        };
        let mut gates = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..size {
            let (client, peer) = (free_port()?, free_port()?);
            ports.push((client, peer));
            gates.push(Gate::before(peer).await?);
        }
        let url = |gate: &Gate| format!("http://127.0.0.1:{}", gate.port());
        let names = gates.iter().enumerate();
        let listed: Vec<String> = names
            .map(|(number, gate)| format!("m{number}={}", url(gate)))
            .collect();
        let options = gates
            .iter()
            .zip(&ports)
            .enumerate()
            .map(|(number, (gate, ports))| {
                EtcdOptions {
                    name: format!("m{number}"),
                    initial_cluster: Some(listed.join(",")),
                    ports: Some(*ports),
                    ..EtcdOptions::default()
                }
                .flag(format!("--initial-advertise-peer-urls={}", url(gate)))
                // Few enough that a member that was away needs a snapshot now and then.
                .flag("--snapshot-count=200")
            });
        let members = EtcdCluster::boot(&version, options).await?.members;
        Ok(Some(Self {
            members,
            gates,
            ports: ports.into_iter().map(|(client, _)| client).collect(),
        }))
    }

    /// Something goes wrong, and is made good again after a while.
    async fn suffer(&mut self, random: &mut StdRng) -> Result<&'static str> {
        let size = self.members.len();
        let victim = random.random_range(0..size);
        let while_away = Duration::from_millis(random.random_range(50..2_500));
        Ok(match random.random_range(0..6) {
            0 | 1 => {
                self.members[victim].kill()?;
                sleep(while_away).await;
                self.members[victim].relaunch().await?;
                "a member was killed"
            }
            2 => {
                for member in &mut self.members {
                    member.kill()?;
                }
                for member in &mut self.members {
                    member.relaunch().await?;
                }
                "all members were killed"
            }
            3 => {
                self.members[victim].signal("STOP")?;
                sleep(while_away).await;
                self.members[victim].signal("CONT")?;
                "a member was paused"
            }
            4 => {
                self.gates[victim].close();
                sleep(while_away).await;
                self.gates[victim].open();
                "a member could not be reached"
            }
            _ => {
                // It can reach nobody, and one of the others still reaches it.
                let open = (victim + 1) % size;
                for (number, gate) in self.gates.iter().enumerate() {
                    if number != open {
                        gate.close();
                    }
                }
                sleep(while_away).await;
                self.gates.iter().for_each(Gate::open);
                "all members but one could not be reached"
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_paused_members_keep_their_promises() -> Result<()> {
    let (seed, rounds) = (number("REVKEEP_SEED", 1), number("REVKEEP_ROUNDS", 10));
    let size = number("REVKEEP_MEMBERS", 3);
    let Some(mut cluster) = Cluster::start(size).await? else {
        return Ok(());
    };
    let mut random = StdRng::seed_from_u64(seed);
    let at_work = Processes::begin(seed, cluster.ports.clone(), 6, 4);
    for round in 1..=rounds {
        sleep(Duration::from_millis(random.random_range(100..1_200))).await;
        let what = cluster.suffer(&mut random).await?;
        println!("seed {seed}, round {round}: {what}");
    }
    let verdict = at_work.judge(Duration::from_secs(120)).await;
    let verdict = verdict
        .map_err(|error| anyhow!("seed {seed}, {size} members, {rounds} rounds: {error}"))?;
    println!("seed {seed}, {size} members: {verdict:?}");
    for member in &cluster.members {
        let log = member.log();
        assert!(!log.contains("panicked at"), "a member panicked:\n{log}");
    }
    assert!(
        verdict.writes > 50,
        "hardly anything was written: {verdict:?}"
    );
    assert!(
        verdict.watched > 50,
        "hardly anything was watched: {verdict:?}"
    );
    Ok(())
}
