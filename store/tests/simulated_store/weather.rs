//! More of what goes wrong: links that carry one way only or slowly, clients that are cut off, members that stand still,
//! disks that fill up or are slow, clocks that jump.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};
use turmoil::Sim;

use super::{run::CLIENT_HOSTS, world::StoreWorld};
use crate::simulation::FaultMix;

/// What a slow link takes, at most, and what links take otherwise.
const SLOW: Duration = Duration::from_millis(400);
const FAST: Duration = Duration::from_millis(8);

/// Brings these faults into a simulation, step by step.
pub struct Weather {
    mix: FaultMix,
    random: StdRng,
    next: Duration,
    ends: Vec<(Duration, End)>,
    pub count: usize,
}

enum End {
    OneWay(String, String),
    Cut(String, String),
    Slow(String, String),
    Disk(usize),
    Full(usize),
    Held(String, String),
}

impl Weather {
    pub fn new(mix: FaultMix, random: StdRng) -> Self {
        Self {
            next: Duration::from_secs(3).min(mix.every) + mix.every,
            mix,
            random,
            ends: Vec::new(),
            count: 0,
        }
    }

    /// What is due by now.
    pub fn step(&mut self, sim: &mut Sim<'_>, world: &StoreWorld) {
        let now = sim.elapsed();
        self.end(sim, world, now);
        if now < self.next {
            return;
        }
        self.next = now + self.mix.every.mul_f64(self.random.random_range(0.1..2.0));
        self.count += 1;
        let seats = &world.base.seats;
        let index = self.random.random_range(0..seats.len());
        let other = (index + self.random.random_range(1..seats.len())) % seats.len();
        let (one, other) = (seats[index].name.clone(), seats[other].name.clone());
        let client = CLIENT_HOSTS[self.random.random_range(0..CLIENT_HOSTS.len())].to_owned();
        let millis = self.random.random_range(100..4_000);
        let until = now + Duration::from_millis(millis);
        match self.random.random_range(0..8) {
            0 => {
                sim.partition_oneway(one.as_str(), other.as_str());
                self.ends.push((until, End::OneWay(one, other)));
            }
            1 => {
                sim.partition(client.as_str(), one.as_str());
                self.ends.push((until, End::Cut(client, one)));
            }
            2 | 3 => {
                sim.set_link_max_message_latency(one.as_str(), other.as_str(), SLOW);
                self.ends.push((until, End::Slow(one, other)));
            }
            4 => {
                world.slow_disk(
                    index,
                    Duration::from_millis(self.random.random_range(5..150)),
                );
                self.ends.push((until, End::Disk(index)));
            }
            5 => {
                // Full at once, or soon.
                let disk = seats[index].disk();
                let room = self.random.random_range(0..100_000);
                disk.faults().limit_bytes(disk.used_bytes() + room);
                self.ends.push((until, End::Full(index)));
            }
            6 => self.hold(sim, world, index, until),
            _ => world.jump(index, Duration::from_millis(millis)),
        }
    }

    /// A member stands still: nothing reaches it or leaves it, and its disk does nothing, until all that was under way goes
    /// on at once. Its timers run on, unlike those of a process that is stopped: that is tried on real processes.
    fn hold(&mut self, sim: &Sim<'_>, world: &StoreWorld, index: usize, until: Duration) {
        let one = &world.base.seats[index].name;
        let members = world.base.seats.iter().map(|seat| seat.name.as_str());
        for other in members.chain(CLIENT_HOSTS).filter(|other| other != one) {
            sim.hold(one.as_str(), other);
            let held = End::Held(one.clone(), other.to_owned());
            self.ends.push((until, held));
        }
        world.slow_disk(index, until.saturating_sub(sim.elapsed()));
        self.ends.push((until, End::Disk(index)));
    }

    fn end(&mut self, sim: &mut Sim<'_>, world: &StoreWorld, now: Duration) {
        for (_, end) in self.ends.extract_if(.., |(until, _)| *until <= now) {
            match end {
                End::OneWay(one, other) => sim.repair_oneway(one.as_str(), other.as_str()),
                End::Cut(one, other) => sim.repair(one.as_str(), other.as_str()),
                End::Slow(one, other) => {
                    sim.set_link_max_message_latency(one.as_str(), other.as_str(), FAST);
                }
                End::Disk(index) => world.slow_disk(index, Duration::ZERO),
                End::Held(one, other) => sim.release(one.as_str(), other.as_str()),
                End::Full(index) => world.base.seats[index].disk().faults().limit_bytes(0),
            }
        }
    }

    /// Everything works again, from now on.
    pub fn heal(&mut self, sim: &mut Sim<'_>, world: &StoreWorld) {
        self.next = Duration::MAX;
        self.end(sim, world, Duration::MAX);
    }
}
