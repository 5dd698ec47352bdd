//! Where the agent's tasks tell what happened; each change of state becomes one line of the log.
//!
//! Nothing here says what is durable: that is the [`HeadKeeper`](crate::head::HeadKeeper)'s alone, which passes on what the
//! object store acknowledged.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseFacts;
use tokio::time::Instant;

use super::certificates::Expiry;
use super::headroom::Compactions;
use super::times::SourceTimes;
use super::{Kind, Phase, Tally};
use crate::base::Taken;
use crate::source::{Alarm, Condition};

/// A snapshot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSnapshot {
    /// Its revision.
    pub revision: Revision,
    /// The size of the database file.
    pub bytes: u64,
    /// How long the member had to send, in milliseconds.
    pub duration_ms: i64,
}

/// The newest base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBase {
    /// Its revision.
    pub revision: Revision,
    /// The source's compact revision in it.
    pub compact_revision: Revision,
    /// When its snapshot was complete, in milliseconds since 1970.
    pub taken_unix_ms: i64,
}

impl From<&BaseFacts> for LastBase {
    fn from(facts: &BaseFacts) -> Self {
        Self {
            revision: facts.revision,
            compact_revision: facts.compact_revision,
            taken_unix_ms: facts.finished_unix_ms,
        }
    }
}

/// Lost ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GapCount {
    /// Told by capture.
    pub found: u64,
    /// Recorded in the vault.
    pub recorded: u64,
    /// The revisions in those that are recorded.
    pub revisions: u64,
}

/// Everything that was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) phase: Phase,
    pub(super) phase_since_unix_ms: i64,
    /// Why capture is where it is, if that is an error.
    pub(super) reason: Option<String>,
    /// Whether that is something that somebody has to grant or mend.
    pub(super) source_denied: bool,
    /// What the source's last answer to the poll was, if that is an error.
    pub(super) source_error: Option<String>,
    /// How long the source took for the last linearizable read that it answered.
    pub(super) source_latency: Option<std::time::Duration>,
    /// The object store's last answer, if that is an error.
    pub(super) vault_error: Option<String>,
    /// Whether that is something that somebody has to grant or mend.
    pub(super) vault_denied: bool,
    /// Why nothing of the member is stored, if its content is not that of its cluster.
    pub(super) diverged: Option<String>,
    /// Why the last base came to nothing.
    pub(super) base_error: Option<String>,
    pub(super) tally: Tally,
    pub(super) gaps: GapCount,
    pub(super) last_base: Option<LastBase>,
    pub(super) last_snapshot: Option<LastSnapshot>,
    pub(super) snapshots: u64,
    pub(super) times: SourceTimes,
    pub(super) compactions: Compactions,
    pub(super) certificates: Vec<Expiry>,
    /// How the member is that is watched.
    pub(super) condition: Option<Condition>,
    /// Alarms that are set in its cluster.
    pub(super) alarms: Vec<Alarm>,
    /// What was done for the source.
    pub(super) upkeep: Upkept,
    /// How often a watch was opened.
    pub(super) connects: u64,
}

/// What was done for the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkept {
    /// Members that were defragmented.
    pub defragmented: u64,
    /// How often that ended early.
    pub failed: u64,
    /// Why it did the last time, if it did.
    pub error: Option<String>,
}

/// What is told as having failed.
pub trait Complaint: std::fmt::Display {
    /// Whether somebody has to grant or mend something.
    fn is_denied(&self) -> bool {
        false
    }
}

impl Complaint for &str {}

impl Complaint for revkeep_vault::VaultError {
    fn is_denied(&self) -> bool {
        self.kind() == revkeep_vault::ErrorKind::Config
    }
}

impl Complaint for crate::AgentError {
    fn is_denied(&self) -> bool {
        Self::is_denied(self)
    }
}

/// Told by every task of what it does. Never waits for anything but another teller.
#[derive(Debug, Default)]
pub struct Monitor {
    told: Mutex<Told>,
}

impl Monitor {
    fn told(&self) -> MutexGuard<'_, Told> {
        // Every change is whole before anything could panic.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was told. The reader must be quick: the tellers wait for it.
    pub(super) fn read<T>(&self, reader: impl FnOnce(&Told) -> T) -> T {
        reader(&self.told())
    }

    /// Capture does something else now; `reason` says why, where it did not mean to.
    pub fn enter(&self, phase: Phase, reason: Option<&dyn Complaint>) {
        let denied = reason.is_some_and(Complaint::is_denied);
        let reason = reason.map(ToString::to_string);
        let mut told = self.told();
        let from = told.phase;
        told.reason.clone_from(&reason);
        told.source_denied = denied;
        if phase == Phase::Watching {
            told.connects += 1;
        }
        // What is being stopped ends its watch last.
        if from == phase || from == Phase::Stopping {
            return;
        }
        told.phase = phase;
        told.phase_since_unix_ms = Utc::now().timestamp_millis();
        drop(told);
        let (from, to) = (from.word(), phase.word());
        if let Some(reason) = reason {
            tracing::warn!(from, to, reason, "capture changed its state");
        } else {
            tracing::info!(from, to, "capture changed its state");
        }
    }

    /// The object store acknowledged an object.
    pub fn stored(&self, kind: Kind) {
        let mut told = self.told();
        told.tally.change(kind, |count| count.stored += 1);
        let was_away = told.vault_error.take().is_some();
        drop(told);
        if was_away {
            tracing::info!(kind = kind.word(), "the vault answers again");
        }
    }

    /// The object store did not take an object; it is tried again.
    pub fn not_stored(&self, kind: Kind, error: &dyn Complaint) {
        let mut told = self.told();
        told.tally.change(kind, |count| count.failed += 1);
        drop(told);
        self.vault_failed(error);
    }

    /// The object store failed at something else.
    pub(crate) fn vault_failed(&self, error: &dyn Complaint) {
        let (error, denied) = (error.to_string(), error.is_denied());
        let mut told = self.told();
        told.vault_denied = denied;
        let was_there = told.vault_error.replace(error.clone()).is_none();
        drop(told);
        if was_there {
            tracing::warn!(error, "the vault does not answer as it should");
        }
    }

    /// The object store answered, whatever it was asked.
    pub(crate) fn vault_answers(&self) {
        if self.told().vault_error.take().is_some() {
            tracing::info!("the vault answers again");
        }
    }

    /// Why nothing of the member is stored, if its content is not that of its cluster.
    pub(crate) fn diverged(&self, reason: Option<String>) {
        let before = std::mem::replace(&mut self.told().diverged, reason.clone());
        match (before, reason) {
            (None, Some(reason)) => tracing::error!(reason, "nothing of this member is stored"),
            (Some(_), None) => tracing::info!("the member continues what was captured"),
            _ => {}
        }
    }

    /// The vault is open, with this base as its newest.
    pub(crate) fn opened(&self, base: Option<LastBase>) {
        let mut told = self.told();
        told.last_base = base;
        if let Some(base) = base {
            told.compactions.known(base.compact_revision);
        }
        let was_away = told.vault_error.take().is_some();
        drop(told);
        if was_away {
            tracing::info!("the vault answers again");
        }
    }

    /// A snapshot is on the local disk.
    pub fn snapshot(&self, taken: &Taken) {
        let mut told = self.told();
        told.snapshots += 1;
        told.last_snapshot = Some(LastSnapshot {
            revision: taken.position.revision,
            bytes: taken.spooled.bytes,
            duration_ms: taken.finished_unix_ms - taken.started_unix_ms,
        });
    }

    /// A base is in the vault.
    pub fn base(&self, base: LastBase) {
        let mut told = self.told();
        told.base_error = None;
        told.compactions.known(base.compact_revision);
        if told
            .last_base
            .is_none_or(|last| last.revision <= base.revision)
        {
            told.last_base = Some(base);
        }
    }

    /// A base came to nothing.
    pub fn no_base(&self, error: &crate::AgentError) {
        self.told().base_error = Some(error.to_string());
        if let crate::AgentError::Diverged(reason) = error {
            self.diverged(Some(reason.clone()));
        }
        if let crate::AgentError::Vault(error) = error {
            self.not_stored(Kind::Base, error);
        } else {
            self.told()
                .tally
                .change(Kind::Base, |count| count.failed += 1);
        }
    }

    /// Revisions are lost, and wait to be recorded.
    pub fn gap_found(&self) {
        self.told().gaps.found += 1;
    }

    /// They are recorded.
    pub fn gap_recorded(&self, first: Revision, last: Revision) {
        let mut told = self.told();
        told.gaps.recorded += 1;
        let revisions = last.next().0.saturating_sub(first.0);
        told.gaps.revisions += u64::try_from(revisions).unwrap_or(0);
        drop(told);
        self.stored(Kind::Gap);
    }

    /// The source stands at least here.
    pub(super) fn source_at(&self, revision: Revision, now: Instant) {
        self.told().times.saw(revision, now);
    }

    /// The source is compacted here.
    pub(super) fn compacted(&self, compact: Revision, now: Instant) {
        let mut told = self.told();
        let Told {
            compactions, times, ..
        } = &mut *told;
        compactions.saw(compact, times, now);
    }

    /// The source answered the poll, a linearizable read, within this time; or what it said instead.
    pub(super) fn source_answered(&self, answer: Result<std::time::Duration, String>) {
        let mut told = self.told();
        match answer {
            Ok(took) => {
                told.source_latency = Some(took);
                told.source_error = None;
            }
            Err(error) => told.source_error = Some(error),
        }
    }

    /// How the member is, and what alarms are set.
    pub(super) fn condition(&self, condition: Condition, alarms: Vec<Alarm>) {
        let mut told = self.told();
        told.condition = Some(condition);
        told.alarms = alarms;
    }

    /// So many members were defragmented; or it ended early.
    pub(crate) fn kept(&self, outcome: Result<usize, String>) {
        let upkeep = &mut self.told().upkeep;
        match outcome {
            Ok(members) => {
                upkeep.defragmented += members as u64;
                upkeep.error = None;
            }
            Err(error) => {
                upkeep.failed += 1;
                upkeep.error = Some(error);
            }
        }
    }

    /// When certificates expire.
    pub(super) fn certificates(&self, certificates: Vec<Expiry>) {
        self.told().certificates = certificates;
    }
}
