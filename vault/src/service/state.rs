//! How the service is, for probes and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::job::Job;

/// What is known of one job.
#[derive(Clone, Debug, Default)]
pub(super) struct JobState {
    /// Whether it is under way here.
    pub(super) running: bool,
    /// Runs that went well.
    pub(super) succeeded: u64,
    /// Runs that failed.
    pub(super) failed: u64,
    /// Times at which another service did it.
    pub(super) left_to_others: u64,
    /// When it went well last.
    pub(super) succeeded_at: Option<DateTime<Utc>>,
    /// How long the last run took.
    pub(super) took: Duration,
}

/// Shared by everything in the service.
#[derive(Debug, Default)]
pub(super) struct State {
    jobs: Mutex<BTreeMap<Job, JobState>>,
}

impl State {
    pub(super) fn change(&self, job: Job, change: impl FnOnce(&mut JobState)) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        change(jobs.entry(job).or_default());
    }

    pub(super) fn jobs(&self) -> BTreeMap<Job, JobState> {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
