//! What happens in a run: drawn from its seed, before anything is started.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use revkeep_harness::Weather;

use crate::places::{Needs, Place, needs};

/// How one life of an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Where it passes this place for the so-manieth time.
    At(Place, u32),
    /// By SIGKILL.
    Killed,
    /// By SIGTERM.
    Stopped,
    /// Not in this step.
    Lives,
}

/// What happens to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It compacts a little behind its newest revision.
    Compacts,
    /// All agents are dead, it is written to, and compacts at its newest revision.
    CompactsUnseen,
    /// A member is killed, and started again.
    LosesMember,
    /// Another member leads.
    MovesLeader,
    /// A member is defragmented.
    Defragments,
    /// Restored to an older revision, with the same cluster id, and written to again.
    IsSetBack,
}

/// One step of the story.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The agent that gets a new life.
    pub(crate) agent: usize,
    pub(crate) end: End,
    pub(crate) blow: Option<Blow>,
    /// The object store is away during the step.
    pub(crate) away: bool,
    /// The agents' disk is full during the step.
    pub(crate) disk_full: bool,
    /// The agent is asked for a base.
    pub(crate) base: bool,
    /// How long the step takes at most.
    pub(crate) length: Duration,
}

/// The whole story.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    pub(crate) agents: usize,
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// Draws a story that tries the places, on a source of so many members.
    pub(crate) fn draw(rng: &mut StdRng, members: usize, places: &[Place]) -> Self {
        let agents = *[1, 1, 2, 3].get(rng.random_range(0..4)).unwrap_or(&1);
        let weather = weather(rng);
        let mut steps: Vec<_> = places
            .iter()
            .map(|place| Step::to(rng, place, agents, members))
            .collect();
        // An empty vault is there only once.
        steps.sort_by_key(
            |step| !matches!(step.end, End::At(at, _) if needs(at) == Needs::EmptyVault),
        );
        for _ in 0..rng.random_range(1..3) {
            let end = match rng.random_range(0..5) {
                0..3 => End::Killed,
                3 => End::Stopped,
                _ => End::Lives,
            };
            let step = Step::of(rng, end, agents, members);
            let at = rng.random_range(1..=steps.len().max(1)).min(steps.len());
            steps.insert(at, step);
        }
        if agents > 1 && weather.ignores_create {
            // Such a store cannot settle which of them opens a timeline: there may be two of one history then, each of them
            // exact.
            for step in &mut steps {
                step.blow = step.blow.filter(|blow| *blow != Blow::IsSetBack);
            }
        }
        Self {
            weather,
            agents,
            steps,
        }
    }
}

impl Plan {
    /// Whether the source forgets anything.
    pub(crate) fn compacts(&self) -> bool {
        let mut blows = self.steps.iter().filter_map(|step| step.blow);
        blows.any(|blow| matches!(blow, Blow::Compacts | Blow::CompactsUnseen))
    }
}

impl Step {
    fn of(rng: &mut StdRng, end: End, agents: usize, members: usize) -> Self {
        Self {
            agent: rng.random_range(0..agents),
            end,
            blow: rng.random_bool(0.45).then(|| blow(rng, members)),
            away: rng.random_bool(0.15),
            disk_full: rng.random_bool(0.1),
            base: rng.random_bool(0.2),
            length: Duration::from_millis(rng.random_range(150..600)),
        }
    }

    fn to(rng: &mut StdRng, place: Place, agents: usize, members: usize) -> Self {
        let needs = needs(place);
        let often = match place.split('.').next() {
            Some("capture") => rng.random_range(1..40),
            Some("snapshot") => rng.random_range(1..3),
            Some("segment") => rng.random_range(1..4),
            _ => 1,
        };
        let often = if needs == Needs::EmptyVault { 1 } else { often };
        let mut step = Self::of(rng, End::At(place, often), agents, members);
        // Long enough for a busy machine; the step is over as soon as the place is reached.
        step.length = Duration::from_millis(2500);
        step.disk_full &= needs == Needs::Nothing && place.starts_with("segment");
        match needs {
            Needs::Nothing => step.away &= place.starts_with("capture"),
            Needs::EmptyVault | Needs::Base => {
                (step.away, step.base) = (false, true);
                step.blow = step.blow.filter(|blow| *blow != Blow::CompactsUnseen);
            }
            Needs::BadStore => (step.away, step.disk_full) = (true, false),
            Needs::Gap => {
                (step.away, step.disk_full) = (false, false);
                step.blow = Some(Blow::CompactsUnseen);
            }
            Needs::Stop => step.length = Duration::from_millis(300),
        }
        step
    }
}

fn blow(rng: &mut StdRng, members: usize) -> Blow {
    match rng.random_range(0..10) {
        0..3 => Blow::Compacts,
        3..5 => Blow::CompactsUnseen,
        5..7 => Blow::LosesMember,
        7..9 if members > 1 => Blow::MovesLeader,
        7..9 => Blow::IsSetBack,
        _ => Blow::Defragments,
    }
}

/// A quarter of the runs have fair weather; the others any share of the worst.
fn weather(rng: &mut StdRng) -> Weather {
    if rng.random_bool(0.25) {
        return Weather::fair();
    }
    let mut up_to = |most: f64| most * rng.random_range(0.0..=1.0);
    let (errors, throttled) = (up_to(0.25), up_to(0.30));
    let (answers_lost, slow) = (up_to(0.10), up_to(0.30));
    let long = rng.random_bool(0.03);
    Weather {
        errors,
        throttled,
        answers_lost,
        answers_hang: if rng.random_bool(0.3) { 0.02 } else { 0.0 },
        slow,
        late: Duration::from_millis(if long {
            10_000
        } else {
            rng.random_range(5..300)
        }),
        wrong_bytes: if rng.random_bool(0.6) { 0.01 } else { 0.0 },
        list_lag: Duration::from_millis(if rng.random_bool(0.4) {
            rng.random_range(50..800)
        } else {
            0
        }),
        ignores_create: rng.random_bool(0.2),
        away: false,
    }
}

/// A seed of its own for something beside the story.
pub(crate) fn another(rng: &mut StdRng) -> u64 {
    rng.next_u64()
}
