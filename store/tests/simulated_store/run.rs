//! One run, from a seed to a verdict.

use std::{
    cell::Cell,
    panic,
    sync::{Arc, Once},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use turmoil::Sim;

use super::{
    admin::administrate,
    audit::audit,
    client::Client,
    judge::{Verdict, judge},
    member::member,
    watcher::Watcher,
    weather::Weather,
    world::StoreWorld,
};
use crate::simulation::{FaultMix, Faults, log};

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The members at the beginning; one more comes and goes.
    pub members: usize,
    pub faults: FaultMix,
    /// How long clients work.
    pub duration: Duration,
    /// How long it may take, without faults, until all members are equal.
    pub settle: Duration,
    pub clients: usize,
    pub watchers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            members: 3,
            faults: FaultMix::ALL,
            duration: Duration::from_secs(12),
            settle: Duration::from_secs(90),
            clients: 6,
            watchers: 4,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub revision: i64,
    pub hash: u32,
    pub members: usize,
    pub faults: usize,
    pub changes: usize,
    pub starts: u64,
    /// Everything that clients did and saw, and when, in one number.
    pub fingerprint: u64,
}

/// The hosts that clients are on.
pub const CLIENT_HOSTS: [&str; 2] = ["c0", "c1"];

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// A task that panics would otherwise only be missed.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.with(|count| count.set(count.get() + 1));
            before(info);
        }));
    });
    PANICS.with(|count| count.set(0));
}

/// Runs members, clients and faults, lets them settle, and judges. The error names the seed.
pub fn run(seed: u64, options: Options) -> Result<Outcome, String> {
    log();
    count_panics();
    let world = StoreWorld::simulated(seed, options.members);
    let outcome = play(&world, options);
    let panics = PANICS.with(Cell::get);
    let outcome = match outcome {
        Ok(_) if panics > 0 => Err(format!("{panics} tasks panicked")),
        outcome => outcome,
    };
    outcome.map_err(|error| {
        format!(
            "{error}\nto repeat it: deploy/dev/simulate {seed} 1 ({} members)",
            options.members
        )
    })
}

fn simulation(world: &Arc<StoreWorld>, options: Options) -> Sim<'static> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(world.base.seed)
        .simulation_duration(Duration::from_secs(100_000))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .tcp_capacity(65_536)
        .enable_random_order()
        .build();
    for seat in &world.base.seats {
        let (world, index) = (Arc::clone(world), seat.index);
        sim.host(seat.name.as_str(), move || {
            member(Arc::clone(&world), index)
        });
    }
    for (place, name) in CLIENT_HOSTS.into_iter().enumerate() {
        let world = Arc::clone(world);
        sim.host(name, move || {
            let world = Arc::clone(&world);
            async move {
                let here = |number: &usize| number % CLIENT_HOSTS.len() == place;
                for number in (0..options.clients).filter(here) {
                    let client = Client::new(Arc::clone(&world), number as i64 + 1);
                    tokio::spawn(client.work());
                }
                for number in (0..options.watchers).filter(here) {
                    tokio::spawn(Watcher::new(Arc::clone(&world), number).work());
                }
                if place == 0 {
                    tokio::spawn(administrate(Arc::clone(&world)));
                    audit(world).await;
                }
                std::future::pending::<()>().await;
                Ok(())
            }
        });
    }
    sim
}

fn play(world: &Arc<StoreWorld>, options: Options) -> Result<Outcome, String> {
    let mut sim = simulation(world, options);
    let mut random = StdRng::seed_from_u64(world.base.seed);
    let mut faults = Faults::new(options.faults, StdRng::seed_from_u64(random.random()));
    let mut weather = Weather::new(options.faults, StdRng::seed_from_u64(random.random()));
    while sim.elapsed() < options.duration {
        sim.step().map_err(|error| error.to_string())?;
        faults.step(&mut sim, &world.base);
        weather.step(&mut sim, world);
    }
    world.base.be_quiet();
    faults.heal(&mut sim, &world.base);
    weather.heal(&mut sim, world);
    let limit = sim.elapsed() + options.settle;
    let audit = loop {
        sim.step().map_err(|error| error.to_string())?;
        faults.step(&mut sim, &world.base);
        if let Some(audit) = world.audit() {
            break audit;
        }
        let record = world.record();
        if let Some(failure) = record.failures.first() {
            return Err(format!("{failure} ({} such)", record.failures.len()));
        }
        if sim.elapsed() > limit {
            return Err(format!(
                "not settled {:?} after the last fault: {}",
                options.settle, record.unsettled
            ));
        }
    };
    let record = world.record();
    let verdict = judge(&record, &audit)?;
    Ok(Outcome {
        verdict,
        revision: audit.revision,
        hash: audit.hash,
        members: audit.members,
        faults: faults.count + weather.count,
        changes: record.changes,
        starts: world.base.seats.iter().map(|seat| seat.starts()).sum(),
        fingerprint: world.seed_of(&format!("{:?}", record.operations)),
    })
}
