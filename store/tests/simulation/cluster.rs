//! Running a cluster through a simulation.

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};
use turmoil::Sim;

use super::{FaultMix, World, faults::Faults};

/// What runs on a host.
pub trait Software: Clone + 'static {
    /// Starts the member on a seat and keeps it running; clients included. Ends with the host.
    fn run(
        self,
        world: Arc<World>,
        index: usize,
    ) -> impl Future<Output = Result<(), Box<dyn Error>>> + 'static;

    /// What the member on a seat holds, durably, in order.
    fn rows(&self, world: &World, index: usize) -> Vec<String>;
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub members: usize,
    pub faults: FaultMix,
    /// How long clients work.
    pub duration: Duration,
    /// How long it may take, without faults, until all members are equal.
    pub settle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            members: 3,
            faults: FaultMix::ALL,
            duration: Duration::from_secs(30),
            settle: Duration::from_secs(60),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub rows: Vec<String>,
    pub writes: usize,
    pub reads: usize,
    pub faults: usize,
    pub starts: u64,
}

/// `REVKEEP_LOG=debug` and the like shows what members say, and when in the simulation's time; `turmoil=trace` every message
/// between hosts. So two runs of a seed can be compared line by line.
pub fn log() {
    if let Ok(filter) = std::env::var("REVKEEP_LOG") {
        // Another test of this program may have set it up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .with_ansi(false)
            .with_timer(SimulatedTime)
            .try_init();
    }
}

struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        write!(to, "{:?}", turmoil::sim_elapsed().unwrap_or_default())
    }
}

/// A simulation of the seed, its members added.
pub fn simulation<S: Software>(world: &Arc<World>, software: &S) -> Sim<'static> {
    log();
    let mut sim = turmoil::Builder::new()
        .rng_seed(world.seed)
        .simulation_duration(Duration::from_secs(100_000))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .tcp_capacity(4096)
        .enable_random_order()
        .build();
    for (index, seat) in world.seats.iter().enumerate() {
        let (world, software) = (Arc::clone(world), software.clone());
        sim.host(seat.name.as_str(), move || {
            software.clone().run(Arc::clone(&world), index)
        });
    }
    sim
}

/// Runs a cluster with clients and faults, lets it settle, and judges it: no acknowledged write lost, none applied
/// twice, none invented, no stale read, all members equal. The error names the seed.
pub fn run<S: Software>(seed: u64, options: Options, software: &S) -> Result<Outcome, String> {
    let world = World::new(seed, options.members, options.members);
    judge(seed, options, software, &world)
        .map_err(|error| format!("seed {seed}, {} members: {error}", options.members))
}

fn judge<S: Software>(
    seed: u64,
    options: Options,
    software: &S,
    world: &Arc<World>,
) -> Result<Outcome, String> {
    let mut sim = simulation(world, software);
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = Faults::new(options.faults, StdRng::seed_from_u64(random.random()));
    while sim.elapsed() < options.duration {
        sim.step().map_err(|error| error.to_string())?;
        faults.step(&mut sim, world);
    }
    world.be_quiet();
    faults.heal(&mut sim, world);
    let limit = sim.elapsed() + options.settle;
    let rows = loop {
        for _ in 0..500 {
            sim.step().map_err(|error| error.to_string())?;
            faults.step(&mut sim, world);
        }
        let all: Vec<Vec<String>> = (0..options.members)
            .map(|index| software.rows(world, index))
            .collect();
        let equal = all.windows(2).all(|pair| pair[0] == pair[1]);
        let quiet = sim.elapsed() + options.settle >= limit + Duration::from_secs(10);
        if equal && quiet {
            break all.into_iter().next().unwrap_or_default();
        }
        if sim.elapsed() > limit {
            let lens: Vec<usize> = all.iter().map(Vec::len).collect();
            return Err(format!(
                "members differ {:?} after the last fault: they hold {lens:?}",
                options.settle
            ));
        }
    };
    let history = world.history();
    history.judge(&rows)?;
    Ok(Outcome {
        writes: history.acknowledged_writes(),
        reads: history.answered_reads(),
        faults: faults.count,
        starts: world.seats.iter().map(super::Seat::starts).sum(),
        rows,
    })
}
