//! Looks at all clusters of a vault.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use revkeep_schemas::names::ClusterName;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::super::database::{Table, Value};
use super::super::open::Catalog;
use super::cluster::{Look, Seen, look};
use super::known::KnownCluster;
use crate::error::{ErrorKind, VaultError};
use crate::retention::Policy;
use crate::vault::Vault;

/// Clusters that are looked at at once.
const CLUSTERS: usize = 16;
/// Requests to the object store at once.
const REQUESTS: usize = 64;

/// How a catalog is filled.
#[derive(Clone, Debug, Default)]
pub struct SyncOptions {
    /// A cluster whose names were listed within this time is asked for its head alone, and listed as far as that says that
    /// there is more. What no head tells of, such as pins, deletions and receipts, waits that long; see [`Catalog::relist`].
    /// Zero: all names of all clusters are listed.
    pub relist: Duration,
    /// The clusters to look at; all when there is none.
    pub clusters: Vec<ClusterName>,
    /// Says which cluster has which labels.
    pub policy: Option<Policy>,
}

/// A cluster that could not be looked at.
#[derive(Clone, Debug, Serialize)]
pub struct SyncFailure {
    /// Its name.
    pub cluster: String,
    /// Why.
    pub error: String,
}

/// What filling a catalog came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SyncReport {
    /// Clusters that were looked at.
    pub clusters: u64,
    /// Of these, those of which all names were listed.
    pub listed: u64,
    /// Of these, those of which more than the head was looked at.
    pub changed: u64,
    /// Clusters that are not in the vault any more.
    pub clusters_gone: u64,
    /// Objects that were read.
    pub objects_read: u64,
    /// Objects that left.
    pub objects_gone: u64,
    /// Objects of those that were read that cannot be used.
    pub damaged: u64,
    /// Clusters that could not be looked at; the others were.
    pub failed: Vec<SyncFailure>,
    /// What the first failure asks of the caller.
    #[serde(skip)]
    pub failure: Option<ErrorKind>,
}

impl SyncReport {
    fn add(&mut self, seen: Seen) {
        self.clusters += 1;
        self.listed += u64::from(seen.listed);
        self.changed += u64::from(seen.changed);
        self.objects_read += seen.read;
        self.objects_gone += seen.gone;
        self.damaged += seen.damaged;
    }
}

impl Catalog {
    /// Brings the catalog up to date with the vault: what is new is read, what is gone leaves. A cluster that cannot be
    /// looked at is named in the report and stays as it was known. Any number of programs may do this at once. `now` is
    /// the caller's time.
    ///
    /// # Errors
    /// `Refused` for the catalog of another vault, `Retry` when the database or the list of clusters cannot be reached.
    pub async fn sync(
        &self,
        vault: &Vault,
        options: &SyncOptions,
        now: DateTime<Utc>,
    ) -> Result<SyncReport, VaultError> {
        self.fill(vault, options, now, false).await
    }

    /// Reads everything again, whatever is known. The content is what [`Catalog::sync`] comes to; meanwhile each cluster is
    /// seen as it was known, then as it was found.
    ///
    /// # Errors
    /// As [`Catalog::sync`].
    pub async fn rebuild(
        &self,
        vault: &Vault,
        options: &SyncOptions,
        now: DateTime<Utc>,
    ) -> Result<SyncReport, VaultError> {
        self.fill(vault, options, now, true).await
    }

    async fn fill(
        &self,
        vault: &Vault,
        options: &SyncOptions,
        now: DateTime<Utc>,
        anew: bool,
    ) -> Result<SyncReport, VaultError> {
        self.revive().await?;
        self.belongs_to(vault.id()).await?;
        // Before the vault is listed: what another program adds to both meanwhile is not taken for gone.
        let mut reading = self.reading().await?;
        let mut known = KnownCluster::all(&mut reading).await?;
        drop(reading);
        let there = vault.clusters().await?;
        let chosen =
            |name: &&ClusterName| options.clusters.is_empty() || options.clusters.contains(*name);
        if let Some(absent) = options.clusters.iter().find(|name| !there.contains(name)) {
            return Err(VaultError::new(
                ErrorKind::NotFound,
                format!("the vault has no cluster {absent}"),
            ));
        }
        let how = Look {
            relist: options.relist,
            anew,
            now,
        };
        let permits = Semaphore::new(REQUESTS);
        let work: Vec<_> = there
            .iter()
            .filter(chosen)
            .map(|name| (name.clone(), known.remove(name.as_str())))
            .collect();
        let mut report = SyncReport::default();
        let mut looks = stream::iter(work)
            .map(|(name, known)| {
                let permits = &permits;
                async move {
                    let cluster = vault.cluster(&name);
                    let seen = Box::pin(look(self, &cluster, known, how, permits)).await;
                    (name, seen)
                }
            })
            .buffer_unordered(CLUSTERS);
        while let Some((name, seen)) = looks.next().await {
            match seen {
                Ok(seen) => report.add(seen),
                Err(error) => {
                    report.failure.get_or_insert(error.kind());
                    report.failed.push(SyncFailure {
                        cluster: name.to_string(),
                        error: error.to_string(),
                    });
                }
            }
        }
        // Not before: who waits for a turn to write, while others that have it are not let go on, waits for ever.
        drop(looks);
        for failure in &report.failed {
            self.note_failure(failure).await?;
        }
        report.failed.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        if options.clusters.is_empty() {
            report.clusters_gone = self.forget(known.into_values()).await?;
        }
        if let Some(policy) = &options.policy {
            self.label(&there, policy).await?;
        }
        Ok(report)
    }

    /// Has all names of a cluster listed by the next sync, whatever its head says: for those who know that there is more, or
    /// less, than a head tells. Nothing happens for a cluster that is not known, as that is listed in any case.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn relist(&self, cluster: &ClusterName) -> Result<(), VaultError> {
        // A sync that is under way may have listed it before: it finds another version, and begins again.
        let sql = "UPDATE clusters SET listed_ms = NULL, version = version + 1 WHERE name = $1";
        self.change(sql, &[cluster.as_str().into()]).await?;
        Ok(())
    }

    /// A cluster of which nothing else is known gets a row for it, so that it is seen.
    async fn note_failure(&self, failure: &SyncFailure) -> Result<(), VaultError> {
        let mut writing = self.writing().await?;
        let sql = "INSERT INTO clusters (name, version, error, lost, thinned, missing, damaged, objects, bytes) \
                   VALUES ($1, 1, $2, 0, 0, 0, 0, 0, 0) ON CONFLICT (name) DO UPDATE SET error = excluded.error";
        let values = [(&failure.cluster).into(), (&failure.error).into()];
        writing.tx.execute(sql, &values).await?;
        writing.commit().await
    }

    /// Removes clusters that the vault does not have any more.
    async fn forget(&self, gone: impl Iterator<Item = KnownCluster>) -> Result<u64, VaultError> {
        let mut forgotten = 0;
        for cluster in gone {
            let mut writing = self.writing().await?;
            let sql = "DELETE FROM clusters WHERE id = $1 AND version = $2";
            let values = [cluster.id.into(), cluster.version.into()];
            forgotten += writing.tx.execute(sql, &values).await?;
            writing.commit().await?;
        }
        Ok(forgotten)
    }

    /// Writes the labels of all clusters.
    async fn label(&self, there: &[ClusterName], policy: &Policy) -> Result<(), VaultError> {
        let mut writing = self.writing().await?;
        let tx = &mut writing.tx;
        let mut known = std::collections::BTreeMap::new();
        tx.each("SELECT name, id FROM clusters", &[], |row| {
            known.insert(row.text(0)?, row.int(1)?);
            Ok(())
        })
        .await?;
        let mut before = BTreeSet::new();
        tx.each("SELECT cluster_id, label FROM labels", &[], |row| {
            before.insert((row.int(0)?, row.text(1)?));
            Ok(())
        })
        .await?;
        let mut now = BTreeSet::new();
        for name in there {
            if let Some(id) = known.get(name.as_str()) {
                now.extend(policy.labels(name).map(|label| (*id, label.to_owned())));
            }
        }
        for (id, label) in before.difference(&now) {
            let sql = "DELETE FROM labels WHERE cluster_id = $1 AND label = $2";
            tx.execute(sql, &[(*id).into(), label.into()]).await?;
        }
        let values: Vec<Value<'_>> = now
            .difference(&before)
            .flat_map(|(id, label)| [(*id).into(), label.into()])
            .collect();
        LABELS.insert(tx, &values).await?;
        writing.commit().await
    }
}

const LABELS: Table = Table {
    name: "labels",
    columns: &["cluster_id", "label"],
    then: "ON CONFLICT DO NOTHING",
};
