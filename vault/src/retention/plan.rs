//! Decides what stays and what goes. Pure: the same history and rules give the same plan.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use revkeep_schemas::Revision;
use revkeep_schemas::names::TimelineId;

use super::history::{History, Pinned, StoredBase, StoredSegment, TimelineHistory};
use super::period::Period;
use super::rules::{Rules, YOUNG};

/// The levels of the doubling rule: up to 2^20 hours, which is 120 years.
const DOUBLINGS: u8 = 21;

/// Why an object stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Revisions of the window need it.
    Window,
    /// It holds the newest state.
    Newest,
    /// It is one of the bases that stay in any case.
    Minimum,
    /// It is the point of a period.
    Point(Period),
    /// A pin of this name needs it.
    Pin(String),
    /// It was stored a moment ago.
    Young,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window => f.write_str("window"),
            Self::Newest => f.write_str("newest state"),
            Self::Minimum => f.write_str("minimum"),
            Self::Point(period) => period.fmt(f),
            Self::Pin(name) => write!(f, "pin {name}"),
            Self::Young => f.write_str("just stored"),
        }
    }
}

/// What happens to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The object, below the vault's prefix.
    pub name: String,
    /// Its bytes; of a base those of the manifest.
    pub bytes: u64,
    /// Why it stays, each reason once; none: it goes.
    pub reasons: Vec<Reason>,
}

impl Decision {
    /// Whether it stays.
    pub fn stays(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// What happens to one timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelinePlan {
    /// Its number.
    pub id: TimelineId,
    /// From here on every revision that can be brought back now can be brought back afterwards; `None` where only
    /// single points stay.
    pub every_revision_from: Option<Revision>,
    /// One decision for each base, in the order of the history.
    pub bases: Vec<Decision>,
    /// One decision for each segment, in the order of the history.
    pub segments: Vec<Decision>,
}

/// What happens to the objects of one cluster. Chunks follow from the bases: those that no remaining base lists go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each timeline, in the order of the history.
    pub timelines: Vec<TimelinePlan>,
    /// Pins of what cannot be brought back even now, by name.
    pub unmet_pins: Vec<String>,
}

/// Decides what stays of a cluster.
///
/// Whatever the rules say, this holds. Let `w` be the lowest revision of a segment that was stored within the window,
/// or the newest revision of the newest timeline if that is lower. Every revision from `w` on that can be brought back
/// stays so: a base at or above `w` stays; so does the newest base `a` at or below `w` from which segments lead to `w`
/// without a hole, and every segment with revisions above the lower of `w` and `a`. For take a revision `r >= w` that
/// base `b` and segments bring back. If `b >= w`, then `b` and the segments between both stay. If `b < w`, these
/// segments lead through `w`, so `a` exists and is at or above `b`; what leads from `a` to `r` has revisions above `a`
/// and stays. And the newest base of the newest timeline always stays.
pub fn plan<Z: TimeZone>(history: &History, rules: &Rules, zone: &Z) -> Plan {
    let newest = history
        .timelines
        .iter()
        .rev()
        .find(|timeline| !timeline.bases.is_empty());
    let newest = newest.map(|timeline| timeline.id);
    let mut unmet_pins = Vec::new();
    let timelines = history.timelines.iter();
    let timelines = timelines
        .map(|timeline| {
            let mut draft = Draft::of(timeline);
            let floor = draft.keep_window(history.now - rules.window, newest == Some(timeline.id));
            draft.keep_young(history.now - YOUNG);
            draft.keep_points(rules, zone, newest == Some(timeline.id));
            let pins = history.pins.iter().filter(|pin| {
                pin.timeline == timeline.id && pin.expires.is_none_or(|end| end > history.now)
            });
            for pin in pins {
                if !draft.keep_pin(pin) {
                    unmet_pins.push(pin.name.clone());
                }
            }
            draft.finish(floor)
        })
        .collect();
    let known = |id| history.timelines.iter().any(|timeline| timeline.id == id);
    let strays = history.pins.iter().filter(|pin| !known(pin.timeline));
    unmet_pins.extend(strays.map(|pin| pin.name.clone()));
    Plan {
        timelines,
        unmet_pins,
    }
}

/// A plan of one timeline while reasons are added to it.
struct Draft<'a> {
    timeline: &'a TimelineHistory,
    bases: Vec<Vec<Reason>>,
    segments: Vec<Vec<Reason>>,
    /// Runs of revisions that segments hold without a hole, ascending.
    runs: Vec<(Revision, Revision)>,
}

fn add(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}

impl<'a> Draft<'a> {
    fn of(timeline: &'a TimelineHistory) -> Self {
        let ranges = timeline
            .segments
            .iter()
            .map(|segment| (segment.first, segment.last));
        Self {
            timeline,
            bases: vec![Vec::new(); timeline.bases.len()],
            segments: vec![Vec::new(); timeline.segments.len()],
            runs: crate::coverage::merge(ranges),
        }
    }

    /// How far segments lead on from a revision.
    fn reach(&self, from: Revision) -> Revision {
        let run = self.runs.partition_point(|run| run.0 <= from.next());
        let run = run.checked_sub(1).and_then(|at| self.runs.get(at));
        run.map_or(from, |run| run.1.max(from))
    }

    /// The newest base at or below a revision that segments lead from to it.
    fn anchor(&self, revision: Revision) -> Option<Revision> {
        let bases = self.timeline.bases.iter().map(|base| base.revision);
        bases
            .filter(|base| *base <= revision && self.reach(*base) >= revision)
            .max()
    }

    fn keep_bases(&mut self, reason: &Reason, which: impl Fn(&StoredBase) -> bool) {
        for (base, reasons) in self.timeline.bases.iter().zip(&mut self.bases) {
            if which(base) {
                add(reasons, reason.clone());
            }
        }
    }

    fn keep_segments(&mut self, reason: &Reason, which: impl Fn(&StoredSegment) -> bool) {
        for (segment, reasons) in self.timeline.segments.iter().zip(&mut self.segments) {
            if which(segment) {
                add(reasons, reason.clone());
            }
        }
    }

    /// Keeps what the window needs, and of the newest timeline the newest state. Returns the window's first revision.
    fn keep_window(&mut self, since: DateTime<Utc>, newest: bool) -> Option<Revision> {
        let bases = &self.timeline.bases;
        let segments = self.timeline.segments.iter();
        let seen = segments
            .filter(|segment| segment.stored >= since)
            .map(|segment| segment.first)
            .min();
        let top = bases.iter().map(|base| self.reach(base.revision)).max();
        let top = top.filter(|_| newest);
        self.keep_bases(&Reason::Window, |base| base.stored >= since);
        let last = bases.iter().map(|base| base.revision).max();
        if newest && let Some(last) = last {
            self.keep_bases(&Reason::Newest, |base| base.revision == last);
        }
        let floor = [seen, top].into_iter().flatten().min()?;
        let reason = match seen {
            Some(_) => Reason::Window,
            None => Reason::Newest,
        };
        let anchor = self.anchor(floor);
        self.keep_bases(&reason, |base| {
            base.revision >= floor || Some(base.revision) == anchor
        });
        let needed = anchor.map_or(floor, Revision::next).min(floor);
        self.keep_segments(&reason, |segment| segment.last >= needed);
        Some(floor)
    }

    fn keep_young(&mut self, since: DateTime<Utc>) {
        self.keep_bases(&Reason::Young, |base| base.stored >= since);
        self.keep_segments(&Reason::Young, |segment| segment.stored >= since);
    }

    fn keep_points<Z: TimeZone>(&mut self, rules: &Rules, zone: &Z, newest: bool) {
        let minimum = if newest { rules.minimum } else { 0 };
        let counted = [
            (Reason::Minimum, Period::Slot, minimum),
            (Reason::Point(Period::Slot), Period::Slot, rules.keep_last),
            (Reason::Point(Period::Hour), Period::Hour, rules.hourly),
            (Reason::Point(Period::Day), Period::Day, rules.daily),
            (Reason::Point(Period::Week), Period::Week, rules.weekly),
            (Reason::Point(Period::Month), Period::Month, rules.monthly),
            (Reason::Point(Period::Year), Period::Year, rules.yearly),
        ];
        let doubling = (0..DOUBLINGS).map(|power| {
            let period = Period::Doubling(power);
            (Reason::Point(period), period, rules.exponential)
        });
        for (reason, period, count) in counted.into_iter().chain(doubling) {
            if count > 0 {
                self.keep_first_of_each(&reason, period, zone, count);
            }
        }
    }

    fn keep_first_of_each<Z: TimeZone>(
        &mut self,
        reason: &Reason,
        period: Period,
        zone: &Z,
        count: u32,
    ) {
        let mut firsts: BTreeMap<i64, usize> = BTreeMap::new();
        let bases = &self.timeline.bases;
        let order = |at: usize| bases.get(at).map(|base| (base.stored, &base.name));
        for (at, base) in bases.iter().enumerate() {
            let first = firsts.entry(period.number(base.stored, zone)).or_insert(at);
            if order(at) < order(*first) {
                *first = at;
            }
        }
        for at in firsts.into_values().rev().take(count as usize) {
            if let Some(reasons) = self.bases.get_mut(at) {
                add(reasons, reason.clone());
            }
        }
    }

    /// Keeps what brings a revision back: a base with the segments that lead on from it, and a base whose own history holds
    /// it. Both, because a segment may turn out to be damaged or distrusted. False where there is neither.
    fn keep_pin(&mut self, pin: &Pinned) -> bool {
        let reason = Reason::Pin(pin.name.clone());
        let anchor = self.anchor(pin.revision);
        if let Some(anchor) = anchor {
            self.keep_bases(&reason, |base| base.revision == anchor);
            self.keep_segments(&reason, |segment| {
                segment.last > anchor && segment.first <= pin.revision
            });
        }
        let holds =
            |base: &StoredBase| (base.compact_revision..=base.revision).contains(&pin.revision);
        let bases = self.timeline.bases.iter().filter(|base| holds(base));
        let nearest = bases.map(|base| base.revision).min();
        if let Some(nearest) = nearest {
            self.keep_bases(&reason, |base| base.revision == nearest && holds(base));
        }
        anchor.is_some() || nearest.is_some()
    }

    fn finish(self, floor: Option<Revision>) -> TimelinePlan {
        let bases = self.timeline.bases.iter().zip(self.bases);
        let segments = self.timeline.segments.iter().zip(self.segments);
        TimelinePlan {
            id: self.timeline.id,
            every_revision_from: floor,
            bases: bases
                .map(|(base, reasons)| Decision {
                    name: base.name.clone(),
                    bytes: base.bytes,
                    reasons,
                })
                .collect(),
            segments: segments
                .map(|(segment, reasons)| Decision {
                    name: segment.name.clone(),
                    bytes: segment.bytes,
                    reasons,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
