use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_schemas::manifest::{BaseFacts, BaseManifest};
use revkeep_schemas::names::Uid;

use super::super::rules::SLOT;
use super::*;
use crate::{BaseEntry, Coverage, Inventory, SegmentEntry};

/// Histories that are tried; `REVKEEP_CASES` asks for more.
fn cases() -> u64 {
    let asked = std::env::var("REVKEEP_CASES").ok();
    asked.map_or(3_000, |cases| {
        cases.parse().expect("REVKEEP_CASES is a number")
    })
}

fn start() -> DateTime<Utc> {
    "2025-03-01T00:00:00Z".parse().unwrap()
}

/// A source, its agents, their outages and its compactions, as the vault sees them.
fn history(random: &mut StdRng) -> History {
    let mut timelines = Vec::new();
    let mut clock = start();
    for id in 1..=random.random_range(1..=3) {
        timelines.push(timeline(random, TimelineId(id), &mut clock));
    }
    let pins = (0..random.random_range(0..3)).map(|at| Pinned {
        name: format!("pin-{at}"),
        timeline: TimelineId(random.random_range(1..=3)),
        revision: Revision(random.random_range(1..400)),
        expires: random
            .random_bool(0.5)
            .then(|| clock + TimeDelta::hours(random.random_range(-200..200))),
    });
    History {
        pins: pins.collect(),
        now: clock + TimeDelta::minutes(random.random_range(0..20_000)),
        timelines,
    }
}

fn timeline(random: &mut StdRng, id: TimelineId, clock: &mut DateTime<Utc>) -> TimelineHistory {
    let mut timeline = TimelineHistory {
        id,
        bases: Vec::new(),
        segments: Vec::new(),
    };
    let (mut revision, mut compacted) = (random.random_range(1..50), 0);
    let pace = [3, 60, 600, 3_000][random.random_range(0..4)];
    for step in 0..random.random_range(0..60) {
        *clock += TimeDelta::minutes(random.random_range(0..pace));
        match random.random_range(0..10) {
            0..3 => {
                let name = format!("{id}-base-{step}-{revision}");
                timeline.bases.push(base(name, *clock, revision, compacted));
            }
            3 => compacted = random.random_range(compacted..=revision),
            // Lost, or held by an agent that is away.
            4 => revision += random.random_range(1..10),
            // What another agent stores again.
            5 => {
                let first = random.random_range(1..=revision);
                let last = random.random_range(first..=revision);
                timeline
                    .segments
                    .push(segment(format!("{id}-again-{step}"), *clock, first, last));
            }
            _ => {
                let first = revision + 1;
                revision += random.random_range(1..10);
                timeline
                    .segments
                    .push(segment(format!("{id}-{step}"), *clock, first, revision));
            }
        }
    }
    timeline
}

fn base(name: String, stored: DateTime<Utc>, revision: i64, compacted: i64) -> StoredBase {
    StoredBase {
        name,
        stored,
        revision: Revision(revision),
        compact_revision: Revision(compacted),
        bytes: 10,
        chunks: Arc::new([]),
    }
}

fn segment(name: String, stored: DateTime<Utc>, first: i64, last: i64) -> StoredSegment {
    StoredSegment {
        name,
        stored,
        first: Revision(first),
        last: Revision(last),
        bytes: 10,
    }
}

fn rules(random: &mut StdRng) -> Rules {
    let mut count = || [0, 0, 1, 2, 5][random.random_range(0..5)];
    Rules {
        hourly: count(),
        daily: count(),
        weekly: count(),
        monthly: count(),
        yearly: count(),
        keep_last: count(),
        exponential: count(),
        minimum: count().max(1),
        window: TimeDelta::minutes(random.random_range(0..10_000)),
        ..Rules::default()
    }
}

/// What is left of a history when a plan was carried out.
fn carry_out(history: &History, plan: &Plan) -> History {
    let mut left = history.clone();
    for (timeline, plan) in left.timelines.iter_mut().zip(&plan.timelines) {
        let mut stays = plan.bases.iter().map(Decision::stays);
        timeline.bases.retain(|_| stays.next().unwrap());
        let mut stays = plan.segments.iter().map(Decision::stays);
        timeline.segments.retain(|_| stays.next().unwrap());
    }
    left
}

fn coverage(timeline: &TimelineHistory) -> Coverage {
    let bases = timeline.bases.iter().map(|base| {
        let facts = BaseFacts {
            revision: base.revision,
            compact_revision: base.compact_revision,
            ..BaseFacts::default()
        };
        BaseEntry {
            name: base.name.clone(),
            revision: base.revision,
            compact_revision: base.compact_revision,
            manifest: Arc::new(BaseManifest::of_chunks(facts, Vec::new())),
        }
    });
    let segments = timeline.segments.iter().map(|segment| SegmentEntry {
        name: segment.name.clone(),
        level: 0,
        first: segment.first,
        last: segment.last,
        uid: Uid(0),
        bytes: segment.bytes,
    });
    Coverage::compute(&Inventory {
        bases: bases.collect(),
        segments: segments.collect(),
        ..Inventory::default()
    })
}

fn names(history: &History) -> BTreeSet<&str> {
    let bases = history
        .timelines
        .iter()
        .flat_map(|timeline| &timeline.bases);
    bases.map(|base| base.name.as_str()).collect()
}

fn highest(timeline: &TimelineHistory) -> i64 {
    let segments = timeline.segments.iter().map(|segment| segment.last.0);
    let bases = timeline.bases.iter().map(|base| base.revision.0);
    segments.chain(bases).max().unwrap_or_default()
}

#[test]
fn no_promise_is_broken() {
    for seed in 0..cases() {
        let random = &mut StdRng::seed_from_u64(seed);
        let (history, rules) = (history(random), rules(random));
        let plan = plan(&history, &rules, &Utc);
        let left = carry_out(&history, &plan);
        let newest = history
            .timelines
            .iter()
            .rposition(|timeline| !timeline.bases.is_empty());
        for (at, (before, after)) in history.timelines.iter().zip(&left.timelines).enumerate() {
            let (was, is) = (coverage(before), coverage(after));
            // The window: what became durable within it can still be brought back, and all after it.
            let since = history.now - rules.window;
            let seen = before
                .segments
                .iter()
                .filter(|segment| segment.stored >= since);
            let floor = seen.map(|segment| segment.first.0).min();
            for revision in floor.unwrap_or(i64::MAX)..=highest(before) {
                let revision = Revision(revision);
                assert_eq!(
                    was.contains(revision),
                    is.contains(revision),
                    "seed {seed}: {revision}"
                );
            }
            for base in before.bases.iter().filter(|base| base.stored >= since) {
                assert!(is.contains(base.revision), "seed {seed}: {}", base.name);
            }
            // The newest state, and the minimum.
            if newest == Some(at) {
                assert_eq!(was.newest(), is.newest(), "seed {seed}");
                let slots = |timeline: &TimelineHistory| {
                    let slot = |base: &StoredBase| base.stored.timestamp() / SLOT.num_seconds();
                    timeline
                        .bases
                        .iter()
                        .map(slot)
                        .collect::<BTreeSet<_>>()
                        .len()
                };
                let minimum = slots(before).min(rules.minimum as usize);
                assert!(slots(after) >= minimum, "seed {seed}");
            }
            // Pins.
            for pin in history.pins.iter().filter(|pin| pin.timeline == before.id) {
                if pin.expires.is_none_or(|end| end > history.now) {
                    assert_eq!(
                        was.contains(pin.revision),
                        is.contains(pin.revision),
                        "seed {seed}"
                    );
                    let unmet = plan.unmet_pins.contains(&pin.name);
                    assert_eq!(unmet, !was.contains(pin.revision), "seed {seed}");
                }
            }
        }
    }
}

#[test]
fn each_period_has_its_point() {
    type Number = fn(DateTime<Utc>) -> i64;
    let hours: Number = |time| time.timestamp().div_euclid(3_600);
    let days: Number = |time| time.timestamp().div_euclid(86_400);
    for seed in 0..cases() {
        let random = &mut StdRng::seed_from_u64(seed);
        let (history, rules) = (history(random), rules(random));
        let left = carry_out(&history, &plan(&history, &rules, &Utc));
        for (before, after) in history.timelines.iter().zip(&left.timelines) {
            for (count, number) in [(rules.hourly, hours), (rules.daily, days)] {
                let periods: BTreeSet<_> = before
                    .bases
                    .iter()
                    .map(|base| number(base.stored))
                    .collect();
                for period in periods.into_iter().rev().take(count as usize) {
                    let of = |timeline: &TimelineHistory| {
                        let bases = timeline
                            .bases
                            .iter()
                            .filter(|base| number(base.stored) == period);
                        bases.map(|base| (base.stored, base.name.clone())).min()
                    };
                    assert_eq!(of(before), of(after), "seed {seed}");
                }
            }
        }
    }
}

#[test]
fn a_second_run_deletes_nothing() {
    for seed in 0..cases() {
        let random = &mut StdRng::seed_from_u64(seed);
        let (history, rules) = (history(random), rules(random));
        let left = carry_out(&history, &plan(&history, &rules, &Utc));
        let again = plan(&left, &rules, &Utc);
        let decisions = again
            .timelines
            .iter()
            .flat_map(|timeline| timeline.bases.iter().chain(&timeline.segments));
        for decision in decisions {
            assert!(decision.stays(), "seed {seed}: {}", decision.name);
        }
    }
}

/// Thinning day by day keeps what one thinning at the end would have kept: a point is never lost on the way to the
/// longer period that it stands for.
#[test]
fn what_runs_every_hour_keeps_what_one_run_keeps() {
    for seed in 0..cases() / 10 {
        let random = &mut StdRng::seed_from_u64(seed);
        let rules = Rules {
            window: TimeDelta::zero(),
            ..rules(random)
        };
        let all = History {
            pins: Vec::new(),
            ..history(random)
        };
        let mut often = History {
            timelines: Vec::new(),
            ..all.clone()
        };
        let mut now = start();
        while now < all.now {
            now = (now + TimeDelta::minutes(random.random_range(1..600))).min(all.now);
            arrive(&mut often, &all, now);
            often = carry_out(&often, &plan(&often, &rules, &Utc));
        }
        let once = carry_out(&all, &plan(&all, &rules, &Utc));
        assert!(
            names(&once).is_subset(&names(&often)),
            "seed {seed}: {rules:?}"
        );
    }
}

/// Lets what was stored up to now, and has not arrived before, arrive.
fn arrive(history: &mut History, all: &History, now: DateTime<Utc>) {
    let (before, until) = (history.now, now);
    let first = history.timelines.is_empty();
    let fresh = |stored: DateTime<Utc>| stored <= until && (first || stored > before);
    if first {
        history.timelines = all.timelines.clone();
        for timeline in &mut history.timelines {
            timeline.bases.clear();
            timeline.segments.clear();
        }
    }
    for (timeline, all) in history.timelines.iter_mut().zip(&all.timelines) {
        timeline
            .bases
            .extend(all.bases.iter().filter(|base| fresh(base.stored)).cloned());
        let segments = all.segments.iter().filter(|segment| fresh(segment.stored));
        timeline.segments.extend(segments.cloned());
    }
    history.now = now;
}

/// An agent that takes bases as fast as it can drives out no point.
#[test]
fn a_flood_of_bases_drives_out_no_point() {
    for seed in 0..cases() {
        let random = &mut StdRng::seed_from_u64(seed);
        let (history, rules) = (history(random), rules(random));
        let Some(newest) = history
            .timelines
            .iter()
            .rposition(|timeline| !timeline.bases.is_empty())
        else {
            continue;
        };
        // Within the slot in which the last base was stored, so that no new period begins by time passing.
        let last = history.timelines[newest]
            .bases
            .iter()
            .max_by_key(|base| base.stored)
            .unwrap()
            .clone();
        let seconds = SLOT.num_seconds();
        let end = (last.stored.timestamp() / seconds + 1) * seconds - 1;
        let left = end - last.stored.timestamp();
        let mut flooded = history.clone();
        for at in 0..200 {
            let stored = last.stored + TimeDelta::seconds(random.random_range(0..=left));
            let revision = if random.random() {
                last.revision.0
            } else {
                random.random_range(1..1_000_000)
            };
            flooded.timelines[newest].bases.push(base(
                format!("~flood-{at}"),
                stored,
                revision,
                revision,
            ));
        }
        let calm = plan(&history, &rules, &Utc);
        let wild = carry_out(&flooded, &plan(&flooded, &rules, &Utc));
        let wild = names(&wild);
        let points = calm
            .timelines
            .iter()
            .flat_map(|timeline| &timeline.bases)
            .filter(|base| {
                let promised = |reason: &Reason| {
                    matches!(reason, Reason::Minimum | Reason::Point(_) | Reason::Pin(_))
                };
                base.reasons.iter().any(promised)
            });
        for point in points.filter(|point| {
            !point
                .reasons
                .iter()
                .all(|reason| matches!(reason, Reason::Pin(_)))
        }) {
            assert!(
                wild.contains(point.name.as_str()),
                "seed {seed}: {}",
                point.name
            );
        }
    }
}

/// A segment may be damaged or distrusted: then the base whose own history holds the revision still brings it back.
#[test]
fn a_pin_holds_the_segments_that_lead_to_it_and_the_base_that_holds_it() {
    let history = History {
        now: start() + TimeDelta::days(1_000),
        pins: vec![Pinned {
            name: "audit".into(),
            timeline: TimelineId::FIRST,
            revision: Revision(15),
            expires: None,
        }],
        timelines: vec![TimelineHistory {
            id: TimelineId::FIRST,
            bases: vec![
                base("a".into(), start(), 10, 0),
                base("b".into(), start() + TimeDelta::hours(1), 20, 12),
                base("c".into(), start() + TimeDelta::hours(2), 40, 39),
            ],
            segments: vec![segment("s".into(), start(), 11, 20)],
        }],
    };
    let rules = Rules {
        minimum: 1,
        daily: 0,
        monthly: 0,
        ..Rules::default()
    };
    let timeline = &plan(&history, &rules, &Utc).timelines[0];
    let pin = [Reason::Pin("audit".into())];
    let reasons = timeline.bases[..2].iter().chain(&timeline.segments);
    assert!(
        reasons
            .map(|decision| &decision.reasons)
            .all(|reasons| *reasons == pin)
    );
}

#[test]
fn the_newest_state_of_an_idle_cluster_stays() {
    let history = History {
        now: start() + TimeDelta::days(1_000),
        pins: Vec::new(),
        timelines: vec![TimelineHistory {
            id: TimelineId::FIRST,
            bases: vec![
                base("a".into(), start(), 10, 0),
                base("b".into(), start() + TimeDelta::hours(1), 20, 0),
            ],
            segments: vec![
                segment("old".into(), start(), 11, 20),
                segment("new".into(), start() + TimeDelta::hours(2), 21, 30),
            ],
        }],
    };
    let rules = Rules {
        minimum: 1,
        daily: 0,
        monthly: 0,
        ..Rules::default()
    };
    let plan = plan(&history, &rules, &Utc);
    let timeline = &plan.timelines[0];
    let stays = |decisions: &[Decision]| decisions.iter().map(Decision::stays).collect::<Vec<_>>();
    assert_eq!(stays(&timeline.bases), [false, true]);
    assert_eq!(stays(&timeline.segments), [false, true]);
    assert_eq!(timeline.bases[1].reasons, [Reason::Newest, Reason::Minimum]);
    assert_eq!(timeline.every_revision_from, Some(Revision(30)));
}
