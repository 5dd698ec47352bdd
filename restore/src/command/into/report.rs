//! What is told of a plan for a live cluster, and of what was done.

use std::fmt;

use serde::Serialize;

use super::super::value::encoded;
use crate::leases::UNKNOWN_TTL_SECONDS;
use crate::live::{Applied, EndedLease, Header, LivePlan};
use crate::past::printable;
use crate::point::Point;
use crate::report::size;

/// Keys that are named for eyes.
const SHOWN_KEYS: usize = 20;

/// A plan, and what was done.
#[derive(Serialize)]
pub(super) struct Report {
    cluster: String,
    timeline: String,
    prefix: String,
    revision: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<Point>,
    live_cluster_id: u64,
    live_revision: i64,
    put: usize,
    delete: usize,
    value_bytes: u64,
    unchanged: usize,
    extra: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_before: Option<usize>,
    steps: Vec<StepLine>,
    /// Leases that are granted anew, which nobody keeps alive.
    leases_nobody_holds: Vec<EndedLease>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<AppliedLine>,
    /// The command that carries this very plan out, or goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip)]
    extra_shown: Vec<String>,
}

/// What is known beside the plan.
pub(super) struct Beside {
    pub(super) point: Option<Point>,
    pub(super) done_before: Option<usize>,
    pub(super) ended: Vec<EndedLease>,
    pub(super) notes: Vec<String>,
    pub(super) next: String,
}

#[derive(Serialize)]
struct StepLine {
    action: String,
    key: String,
    seen_mod_revision: i64,
    #[serde(skip)]
    shown_key: String,
}

#[derive(Serialize)]
struct AppliedLine {
    put: usize,
    deleted: usize,
    already: usize,
    revision: i64,
    leases_granted: usize,
    conflicts: Vec<ConflictLine>,
    /// Keys of transactions that failed; where no answer came, they may have been changed all the same.
    failed_keys: Vec<String>,
    seconds: f64,
    #[serde(skip)]
    shown_failed: Vec<String>,
}

#[derive(Serialize)]
struct ConflictLine {
    key: String,
    planned_mod_revision: i64,
    found_mod_revision: i64,
    #[serde(skip)]
    shown_key: String,
}

impl Report {
    pub(super) fn of(header: &Header, plan: &LivePlan, beside: Beside) -> Self {
        let (put, delete) = plan.counts();
        let steps = plan.steps.iter().map(|step| StepLine {
            action: step.action.to_string(),
            key: encoded(&step.key),
            seen_mod_revision: step.seen,
            shown_key: printable(&step.key),
        });
        let extra = plan.extra.iter().take(SHOWN_KEYS);
        Self {
            cluster: header.cluster.clone(),
            timeline: header.timeline.clone(),
            prefix: header.prefix.clone(),
            revision: header.revision,
            point: beside.point,
            live_cluster_id: header.live_cluster_id,
            live_revision: plan.live_revision,
            put,
            delete,
            value_bytes: plan.value_bytes(),
            unchanged: plan.unchanged,
            extra: plan.extra.len(),
            done_before: beside.done_before,
            steps: steps.collect(),
            leases_nobody_holds: beside.ended,
            notes: beside.notes,
            applied: None,
            next: Some(beside.next),
            extra_shown: extra.map(|key| printable(key)).collect(),
        }
    }

    /// Adds what was done. `failed` are the keys of transactions that failed; `ended` says that all of the plan was done.
    pub(super) fn done(
        &mut self,
        applied: &Applied,
        failed: &[Vec<u8>],
        leases: usize,
        seconds: f64,
        ended: bool,
    ) {
        let conflicts = applied.conflicts.iter().map(|conflict| ConflictLine {
            key: encoded(&conflict.key),
            planned_mod_revision: conflict.planned,
            found_mod_revision: conflict.found,
            shown_key: printable(&conflict.key),
        });
        self.applied = Some(AppliedLine {
            put: applied.put,
            deleted: applied.deleted,
            already: applied.already,
            revision: applied.revision,
            leases_granted: leases,
            conflicts: conflicts.collect(),
            failed_keys: failed.iter().map(|key| encoded(key)).collect(),
            seconds,
            shown_failed: failed.iter().map(|key| printable(key)).collect(),
        });
        if ended {
            self.next = None;
        }
    }

    /// What has to be known of leases that nobody keeps alive.
    fn lease_note(&self) -> Option<String> {
        let leases = &self.leases_nobody_holds;
        let ttls = || leases.iter().map(|lease| lease.ttl_seconds);
        let (shortest, longest) = (ttls().min()?, ttls().max()?);
        let keys: usize = leases.iter().map(|lease| lease.keys).sum();
        let made_up = leases.iter().filter(|lease| lease.made_up).count();
        let made_up = match made_up {
            0 => String::new(),
            count => format!(
                "; of {count} the vault does not know the time, and they get {UNKNOWN_TTL_SECONDS} s"
            ),
        };
        Some(format!(
            "{keys} keys get one of {} leases that have ended, which nobody keeps alive: unless somebody does, the keys are gone \
             {shortest} to {longest} s after{made_up}. Try: --leases detach, which leaves them without a lease",
            leases.len()
        ))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = |f: &mut fmt::Formatter<'_>, all: usize| match all.saturating_sub(SHOWN_KEYS) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more, which -w json lists"),
        };
        writeln!(
            f,
            "{:<17} {} (timeline {})",
            "cluster", self.cluster, self.timeline
        )?;
        match &self.point {
            Some(point) => write!(f, "{point}")?,
            None => writeln!(f, "{:<17} {}", "revision", self.revision)?,
        }
        writeln!(f, "{:<17} {}", "live revision", self.live_revision)?;
        for step in self.steps.iter().take(SHOWN_KEYS) {
            writeln!(f, "  {:<6} {}", step.action, step.shown_key)?;
        }
        more(f, self.steps.len())?;
        for key in &self.extra_shown {
            writeln!(f, "  leave  {key}")?;
        }
        more(f, self.extra)?;
        writeln!(
            f,
            "{:<17} {} to put ({}), {} to delete, {} unchanged, {} that were not there and stay",
            "plan",
            self.put,
            size(self.value_bytes),
            self.delete,
            self.unchanged,
            self.extra
        )?;
        if let Some(done) = self.done_before {
            writeln!(f, "{:<17} {done} keys", "done before")?;
        }
        for note in self.notes.iter().cloned().chain(self.lease_note()) {
            writeln!(f, "{:<17} {note}", "note")?;
        }
        let next = |f: &mut fmt::Formatter<'_>, said: &str| match &self.next {
            Some(next) => writeln!(f, "{:<17} {said}: {next}", "next"),
            None => Ok(()),
        };
        let Some(applied) = &self.applied else {
            return next(f, "nothing was changed; this does it");
        };
        for key in applied.shown_failed.iter().take(SHOWN_KEYS) {
            writeln!(f, "  failed {key}: it may have been changed or not")?;
        }
        more(f, applied.shown_failed.len())?;
        for conflict in &applied.conflicts {
            writeln!(
                f,
                "  conflict {}: it was at {}, and is at {} now",
                conflict.shown_key, conflict.planned_mod_revision, conflict.found_mod_revision
            )?;
        }
        writeln!(
            f,
            "{:<17} {} put, {} deleted, {} already so, {} conflicts, {} leases granted, in {:.2} s",
            "applied",
            applied.put,
            applied.deleted,
            applied.already,
            applied.conflicts.len(),
            applied.leases_granted,
            applied.seconds
        )?;
        next(f, "it did not come to its end; this goes on")
    }
}
