//! What goes wrong, and when.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use turmoil::Sim;

use super::World;

/// Which faults a run has.
#[derive(Clone, Copy, Debug)]
pub struct FaultMix {
    /// Hosts lose their power.
    pub kills: bool,
    /// Links break, both ways, or one way, or hold everything back for a while.
    pub links: bool,
    /// Syncs and writes fail; the member must stop.
    pub disks: bool,
    /// The mean time between two faults.
    pub every: Duration,
}

impl FaultMix {
    /// Everything at once.
    pub const ALL: Self = Self {
        kills: true,
        links: true,
        disks: true,
        every: Duration::from_millis(1500),
    };

    /// Nothing.
    pub const NONE: Self = Self {
        kills: false,
        links: false,
        disks: false,
        every: Duration::from_secs(1_000_000),
    };
}

/// Brings the faults into a simulation, step by step.
pub struct Faults {
    mix: FaultMix,
    random: StdRng,
    next: Duration,
    /// Hosts without power, and when they get it back.
    down: Vec<(usize, Duration)>,
    /// Links that are broken or held, and until when.
    broken: Vec<(usize, usize, bool, Duration)>,
    pub count: usize,
}

impl Faults {
    pub fn new(mix: FaultMix, mut random: StdRng) -> Self {
        let next = Duration::from_secs(3).min(mix.every) + after(mix.every, &mut random);
        Self {
            mix,
            random,
            next,
            down: Vec::new(),
            broken: Vec::new(),
            count: 0,
        }
    }

    /// What is due by now.
    pub fn step(&mut self, sim: &mut Sim<'_>, world: &World) {
        let now = sim.elapsed();
        self.recover(sim, world, now);
        for index in 0..world.seats.len() {
            let is_down = self.down.iter().any(|(down, _)| *down == index);
            if world.seats[index].is_stopped() && !is_down {
                // Whoever runs it starts it again, on a disk that is whole.
                self.kill(sim, world, index, now);
            }
        }
        if now < self.next {
            return;
        }
        self.next = now + after(self.mix.every, &mut self.random);
        let mut kinds: Vec<u8> = Vec::new();
        kinds.extend(self.mix.kills.then_some(0));
        kinds.extend(self.mix.links.then_some([1, 2, 3]).into_iter().flatten());
        kinds.extend(self.mix.disks.then_some(4));
        let Some(kind) = kinds.choose(&mut self.random).copied() else {
            return;
        };
        self.count += 1;
        let members = world.seats.len();
        let victim = self.random.random_range(0..members);
        let until = now
            + self
                .random
                .random_range(Duration::from_millis(100)..Duration::from_secs(4));
        match kind {
            0 => self.kill(sim, world, victim, now),
            1 => {
                // Cut off from all.
                for other in (0..members).filter(|other| *other != victim) {
                    self.cut(sim, world, (victim, other), until);
                }
            }
            2 => {
                let other = (victim + self.random.random_range(1..members.max(2))) % members;
                if other != victim {
                    self.cut(sim, world, (victim, other), until);
                }
            }
            3 => {
                let other = (victim + self.random.random_range(1..members.max(2))) % members;
                if other != victim && !self.is_broken(victim, other) {
                    sim.hold(name(world, victim), name(world, other));
                    self.broken.push((victim, other, true, until));
                }
            }
            _ => {
                let disk = world.seats[victim].disk();
                let nth = self.random.random_range(1..20);
                if self.random.random_bool(0.5) {
                    disk.faults().fail_sync_from(nth);
                } else {
                    disk.faults().fail_write_from(nth);
                }
            }
        }
    }

    fn is_broken(&self, one: usize, other: usize) -> bool {
        let ends = BTreeSet::from([one, other]);
        let mut broken = self.broken.iter();
        broken.any(|(a, b, ..)| BTreeSet::from([*a, *b]) == ends)
    }

    fn cut(&mut self, sim: &Sim<'_>, world: &World, (one, other): (usize, usize), until: Duration) {
        if !self.is_broken(one, other) {
            sim.partition(name(world, one), name(world, other));
            self.broken.push((one, other, false, until));
        }
    }

    fn kill(&mut self, sim: &mut Sim<'_>, world: &World, victim: usize, now: Duration) {
        if self.down.iter().any(|(down, _)| *down == victim) {
            return;
        }
        // First the disk, so that nothing is saved by what runs when the host goes down.
        world.seats[victim].cut_power(self.random.random());
        sim.crash(name(world, victim));
        let pause = self
            .random
            .random_range(Duration::from_millis(1)..Duration::from_secs(3));
        self.down.push((victim, now + pause));
    }

    fn recover(&mut self, sim: &mut Sim<'_>, world: &World, now: Duration) {
        for (host, _) in self.down.extract_if(.., |(_, until)| *until <= now) {
            sim.bounce(name(world, host));
        }
        for (one, other, held, _) in self.broken.extract_if(.., |(.., until)| *until <= now) {
            let (one, other) = (name(world, one), name(world, other));
            if held {
                sim.release(one, other);
            } else {
                sim.repair(one, other);
            }
        }
    }

    /// Everything works again, from now on.
    pub fn heal(&mut self, sim: &mut Sim<'_>, world: &World) {
        self.mix = FaultMix::NONE;
        self.next = Duration::MAX;
        self.recover(sim, world, Duration::MAX);
        for seat in &world.seats {
            seat.disk().faults().fail_sync_from(0);
            seat.disk().faults().fail_write_from(0);
        }
    }
}

fn after(mean: Duration, random: &mut StdRng) -> Duration {
    mean.mul_f64(random.random_range(0.1..2.0))
}

fn name(world: &World, index: usize) -> &str {
    &world.seats[index].name
}
