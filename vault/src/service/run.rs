//! Does jobs when they are due.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt as _;
use revkeep_schemas::names::ClusterName;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, LEASE};
use super::job::Job;
use super::options::{JobSchedule, ServeOptions};
use super::state::State;
use crate::catalog::{Catalog, SyncOptions};
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::retention::{Policy, Progress, Rules};
use crate::vault::Vault;

/// A wait is cut into pieces of this, for a clock that is set or a machine that slept.
const NAP: Duration = Duration::from_secs(30);
/// More objects that could not be locked, or deleted, are not named one by one.
const NAMED: usize = 20;

/// Does the jobs of one service.
pub(super) struct Runner {
    pub(super) vault: Vault,
    pub(super) catalog: Catalog,
    pub(super) claims: Claims,
    pub(super) state: Arc<State>,
    /// Names this service in claims.
    pub(super) holder: String,
    pub(super) options: ServeOptions,
    /// The policy as it was read last.
    pub(super) policy: watch::Receiver<Option<Policy>>,
    pub(super) stop: CancellationToken,
    pub(super) turns: Turns,
}

/// One at a time of each job: a fill that is long, such as the first one, and the next that is due would do the same beside
/// each other.
#[derive(Debug, Default)]
pub(super) struct Turns {
    catalog_sync: Mutex<()>,
    retention: Mutex<()>,
    verification: Mutex<()>,
    drill: Mutex<()>,
}

impl Turns {
    const fn of(&self, job: Job) -> &Mutex<()> {
        match job {
            Job::CatalogSync => &self.catalog_sync,
            Job::Retention => &self.retention,
            Job::Verification => &self.verification,
            Job::Drill => &self.drill,
        }
    }
}

/// Reads the policy file, if there is one.
pub(super) fn policy(file: Option<&PathBuf>) -> Result<Option<Policy>, VaultError> {
    file.map(|file| Policy::read(file)).transpose()
}

impl Runner {
    /// Does a job whenever it is due, until the service ends.
    pub(super) async fn keep(self: Arc<Self>, what: JobSchedule) {
        let JobSchedule { job, schedule } = what;
        let mut after = Utc::now();
        loop {
            let Some(slot) = schedule.next_after(after) else {
                return;
            };
            let late = self.options.jitter.as_secs_f64() * rand::rng().random_range(0.0..1.0);
            let due = slot + chrono::TimeDelta::milliseconds(millis(late));
            if self.wait_until(due).await.is_none() {
                return;
            }
            if let Err(error) = self.due(job, slot).await {
                tracing::warn!(%job, %error, "a job failed; it is done again when it is due next");
            }
            // What came due meanwhile is not made up for.
            after = slot.max(Utc::now());
        }
    }

    async fn wait_until(&self, due: DateTime<Utc>) -> Option<()> {
        while let Ok(left) = (due - Utc::now()).to_std() {
            tokio::select! {
                () = sleep(left.min(NAP)) => {}
                () = self.stop.cancelled() => return None,
            }
        }
        (!self.stop.is_cancelled()).then_some(())
    }

    /// Does a job if no other service does, once it is not under way here any more.
    pub(super) async fn due(&self, job: Job, slot: DateTime<Utc>) -> Result<(), VaultError> {
        let _turn = tokio::select! {
            turn = self.turns.of(job).lock() => turn,
            () = self.stop.cancelled() => return Ok(()),
        };
        let done = self.claimed(job, slot).await;
        if done.is_err() {
            self.state.change(job, |state| state.failed += 1);
        }
        done
    }

    async fn claimed(&self, job: Job, slot: DateTime<Utc>) -> Result<(), VaultError> {
        // Each service fills a catalog of its own; only one that is shared is filled by one of them.
        let own = job == Job::CatalogSync && !self.catalog.url().is_shared();
        if !own
            && !self
                .claims
                .claim(job, slot, &self.holder, Utc::now())
                .await?
        {
            self.state.change(job, |state| state.left_to_others += 1);
            return Ok(());
        }
        self.state.change(job, |state| state.running = true);
        let begun = Instant::now();
        let done = tokio::select! {
            done = self.perform(job) => done.map(|()| true),
            held = self.hold(job, slot), if !own => held.map(|()| false),
            // Every step is safe to be cut off after; the next one goes on.
            () = self.stop.cancelled() => Ok(false),
        };
        self.state.change(job, |state| {
            state.running = false;
            state.took = begun.elapsed();
            if matches!(done, Ok(true)) {
                state.succeeded += 1;
                state.succeeded_at = Some(Utc::now());
            }
        });
        if !own {
            // What failed is not tried again at the same slot: whatever was wrong there is wrong for all.
            let over = !matches!(done, Ok(false));
            self.claims.release(job, slot, &self.holder, over).await?;
        }
        done.map(|_| ())
    }

    /// Renews the claim; returns when another service has taken it over.
    async fn hold(&self, job: Job, slot: DateTime<Utc>) -> Result<(), VaultError> {
        let mut renew = interval(LEASE / 4);
        loop {
            renew.tick().await;
            match self.claims.renew(job, slot, &self.holder, Utc::now()).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(%job, "another service has taken this job over");
                    return Ok(());
                }
                // The lease is long enough for some of these.
                Err(error) => tracing::warn!(%job, %error, "a claim could not be renewed"),
            }
        }
    }

    async fn perform(&self, job: Job) -> Result<(), VaultError> {
        match job {
            Job::CatalogSync => self.sync().await,
            Job::Retention => self.retention().await,
            Job::Verification => self.verification().await,
            Job::Drill => self.drill().await,
        }
    }

    async fn sync(&self) -> Result<(), VaultError> {
        let options = SyncOptions {
            relist: self.options.relist,
            clusters: Vec::new(),
            policy: self.policy.borrow().clone(),
        };
        let report = self.catalog.sync(&self.vault, &options, Utc::now()).await?;
        for failure in &report.failed {
            tracing::warn!(
                cluster = failure.cluster,
                error = failure.error,
                "a cluster could not be looked at"
            );
        }
        tracing::info!(
            clusters = report.clusters,
            listed = report.listed,
            changed = report.changed,
            read = report.objects_read,
            gone = report.objects_gone,
            damaged = report.damaged,
            "the catalog is up to date"
        );
        match report.failure {
            Some(kind) => Err(VaultError::new(
                kind,
                format!("{} clusters could not be looked at", report.failed.len()),
            )),
            None => Ok(()),
        }
    }

    /// Has the catalog see what this service itself did to a cluster, of which its head says nothing.
    pub(super) async fn relist(&self, cluster: &ClusterName) {
        let options = SyncOptions {
            relist: self.options.relist,
            clusters: vec![cluster.clone()],
            policy: None,
        };
        // Noted down before, so that the next sync does what this one cannot.
        let seen = match self.catalog.relist(cluster).await {
            Ok(()) => self.catalog.sync(&self.vault, &options, Utc::now()).await,
            Err(error) => Err(error),
        };
        let failed = match seen {
            Ok(report) => report.failed.into_iter().next().map(|one| one.error),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failed {
            tracing::warn!(%cluster, error, "the catalog sees later what was done just now");
        }
    }

    async fn retention(&self) -> Result<(), VaultError> {
        let Some(policy) = self.policy.borrow().clone() else {
            return Ok(());
        };
        let mut failed = 0_usize;
        let mut first: Option<ErrorKind> = None;
        for name in self.vault.clusters().await? {
            let cluster = self.vault.cluster(&name);
            let rules = policy.rules(&name);
            let done = async {
                lock(&cluster, &policy, &rules).await?;
                cluster.apply_retention(&rules, &policy.zone).await
            };
            let done = done.await;
            if !matches!(
                done,
                Ok(Progress::NothingToDelete
                    | Progress::InGrace { .. }
                    | Progress::WaitsFor { .. })
            ) {
                self.relist(&name).await;
            }
            match done {
                Ok(progress) => tell(name.as_str(), &progress),
                Err(error) => {
                    tracing::warn!(cluster = name.as_str(), %error, "nothing was deleted or marked");
                    failed += 1;
                    first.get_or_insert(error.kind());
                }
            }
        }
        match first {
            Some(kind) => Err(VaultError::new(
                kind,
                format!("{failed} clusters could not be looked after"),
            )),
            None => Ok(()),
        }
    }
}

/// Locks what stays, before anything goes.
async fn lock(cluster: &Cluster, policy: &Policy, rules: &Rules) -> Result<(), VaultError> {
    let Some(lock) = policy.lock(cluster.name()) else {
        return Ok(());
    };
    let locked = cluster.lock_kept(&lock, rules, &policy.zone).await?;
    tracing::info!(
        cluster = cluster.name().as_str(),
        until = %locked.until,
        objects = locked.set,
        bytes = locked.bytes,
        covered = locked.covered,
        weaker = locked.weaker,
        failed = locked.failed.len(),
        "locked"
    );
    for damage in locked.failed.iter().take(NAMED) {
        tracing::warn!(
            cluster = cluster.name().as_str(),
            object = damage.name,
            error = damage.reason,
            "an object could not be locked"
        );
    }
    locked.complete()
}

fn tell(cluster: &str, progress: &Progress) {
    match progress {
        Progress::NothingToDelete | Progress::InGrace { .. } => {}
        Progress::Marked { round, objects, .. } => {
            tracing::info!(
                cluster,
                round,
                objects = objects.objects(),
                bytes = objects.bytes,
                "marked to be deleted"
            );
        }
        Progress::WaitsFor { round, .. } => {
            tracing::info!(
                cluster,
                round,
                "deletions wait for a base that is being written"
            );
        }
        Progress::Swept {
            round,
            objects,
            deleted,
            left,
        } => {
            // Of what is left the bytes are not known one by one.
            let bytes = left.is_empty().then_some(objects.bytes);
            tracing::info!(
                cluster,
                round,
                objects = deleted,
                bytes,
                left = left.len(),
                "deleted"
            );
            for damage in left.iter().take(NAMED) {
                tracing::warn!(
                    cluster,
                    round,
                    object = damage.name,
                    error = damage.reason,
                    "an object could not be deleted; a later round tries again"
                );
            }
        }
    }
}

/// Seconds as milliseconds; jitter is never longer than a day.
fn millis(seconds: f64) -> i64 {
    let seconds = Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0));
    i64::try_from(seconds.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
