//! A drill: a revision is restored into a temporary folder, a server boots on it, and its HashKV is compared.
//!
//! Comes in: a cluster and a point in its history. Goes out: what was proved, as a [`Drilled`] that becomes a receipt.
//! Promises: what is wrong with the backup is told apart from what went wrong with the drill: the first is in
//! [`Drilled::failure`], the second an error. Never: anything outside of the folder; a process that stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use rand::RngExt;
use revkeep_schemas::Revision;
use revkeep_schemas::member::{NewMember, RestoredCluster};
use revkeep_vault::{Cluster, ProofKind, Receipt, TimelineId};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::{Kind, RestoreError};
use crate::execute::{Destination, execute};
use crate::members::{self, Place, places};
use crate::overlap::Overlaps;
use crate::plan::{History, Target, coverage};
use crate::point::{Resolved, Wanted, resolve};
use crate::prepare::{Prepared, Request, prepare};
use crate::report::Report;
use crate::source::Source;

const TOKEN: &str = "revkeep-drill";

/// Which revision is drilled.
#[derive(Clone, Debug)]
pub enum Which {
    /// This one.
    This(Wanted),
    /// Any that is covered.
    Random,
}

/// How a drill is done.
#[derive(Clone, Debug)]
pub struct Drill {
    /// The timeline; by default the newest.
    pub timeline: Option<String>,
    /// The revision.
    pub which: Which,
    /// Whether real etcd boots and not the store.
    pub etcd: bool,
    /// A folder to look for the server in, before `PATH`.
    pub programs: Option<PathBuf>,
    /// Where the temporary folder is made; by default where the system makes them.
    pub scratch: Option<PathBuf>,
}

/// What was proved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drilled {
    /// The timeline.
    pub timeline: TimelineId,
    /// The revision.
    pub revision: Revision,
    /// The compact revision of the result.
    pub compact_revision: Revision,
    /// HashKV as the restore computed it.
    pub restored_hash: Option<u32>,
    /// HashKV as the server gave it.
    pub booted_hash: Option<u32>,
    /// The server and its version.
    pub server: Option<String>,
    /// What the source itself says of it.
    pub source: String,
    /// Seconds of the restore.
    pub restore_seconds: f64,
    /// Seconds from the start of the server to its first linearizable answer.
    pub boot_seconds: f64,
    /// Seconds of everything.
    pub seconds: f64,
    /// What is wrong with the backup.
    pub failure: Option<String>,
}

impl Drilled {
    /// What is stored of it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let summary = match (&self.failure, &self.server) {
            (Some(failure), _) => failure.clone(),
            (None, Some(server)) => format!(
                "revision {} was restored and booted by {server}: HashKV is equal; {}",
                self.revision, self.source
            ),
            (None, None) => self.source.clone(),
        };
        Receipt {
            kind: ProofKind::Drill,
            sound: self.failure.is_none(),
            summary,
            ended_unix_ms: Utc::now().timestamp_millis(),
            took_ms: std::time::Duration::try_from_secs_f64(self.seconds)
                .ok()
                .and_then(|took| u64::try_from(took.as_millis()).ok())
                .unwrap_or_default(),
            timeline: self.timeline,
            revision: self.revision,
            compact_revision: self.compact_revision,
            hash: self.booted_hash.unwrap_or_default(),
            server: self.server.clone().unwrap_or_default(),
            objects: 0,
            bytes: 0,
            findings: u64::from(self.failure.is_some()),
        }
    }
}

impl Drill {
    /// Does it. `progress` is told the bytes of rows that were restored, unpacked.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when there is no server to boot, [`Kind::Interrupted`] once `cancelled` is true, when the store or the disk
    /// fails: nothing is said about the backup then.
    pub async fn run(
        &self,
        cluster: &Cluster,
        cancelled: watch::Receiver<bool>,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Drilled, RestoreError> {
        let kind = if self.etcd {
            members::Kind::Etcd
        } else {
            members::Kind::Store
        };
        // Before anything is read: a drill that cannot boot proves nothing.
        kind.program(self.programs.as_ref())?;
        let started = Instant::now();
        let Resolved { source, target } = self.resolve(cluster).await?;
        let mut drilled = Drilled {
            timeline: source.timeline.id(),
            revision: match source.resolve(target) {
                Target::Revision(revision) => revision,
                Target::Latest => Revision::ZERO,
            },
            compact_revision: Revision::ZERO,
            restored_hash: None,
            booted_hash: None,
            server: None,
            source: "nothing was compared with the source".to_owned(),
            restore_seconds: 0.0,
            boot_seconds: 0.0,
            seconds: 0.0,
            failure: None,
        };
        let folder = self.folder()?;
        let mut stop = cancelled.clone();
        let proving = self.prove(
            kind,
            &source,
            target,
            folder.path(),
            cancelled,
            progress,
            &mut drilled,
        );
        let proved = tokio::select! {
            proved = Box::pin(proving) => proved,
            Ok(_) = stop.wait_for(|cancelled| *cancelled) => Err(crate::replay::interrupted()),
        };
        drilled.seconds = started.elapsed().as_secs_f64();
        match proved {
            Ok(()) => Ok(drilled),
            Err(error) if tells_of_the_vault(error.kind()) => {
                drilled.failure = Some(error.to_string());
                Ok(drilled)
            }
            Err(error) => Err(error),
        }
    }

    fn folder(&self) -> Result<tempfile::TempDir, RestoreError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("revkeep-drill-");
        let made = match &self.scratch {
            Some(scratch) => builder.tempdir_in(scratch),
            None => builder.tempdir(),
        };
        made.map_err(RestoreError::io("make a folder for the drill"))
    }

    async fn resolve(&self, cluster: &Cluster) -> Result<Resolved, RestoreError> {
        let timeline = self.timeline.as_deref();
        let wanted = match &self.which {
            Which::This(wanted) => wanted,
            Which::Random => {
                let source = Source::open(cluster, timeline).await?;
                let target =
                    any_of(&coverage(&source.holdings())).map_or(Target::Latest, Target::Revision);
                return Ok(Resolved { source, target });
            }
        };
        resolve(cluster, timeline, wanted).await
    }

    #[expect(clippy::too_many_arguments, reason = "each is one thing, used once")]
    async fn prove(
        &self,
        kind: members::Kind,
        source: &Source,
        target: Target,
        folder: &Path,
        cancelled: watch::Receiver<bool>,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
        drilled: &mut Drilled,
    ) -> Result<(), RestoreError> {
        let request = Request {
            target,
            history: History::AsSource,
            overlaps: Overlaps::Small,
        };
        let prepared = Box::pin(prepare(source, request)).await?;
        let place = places(folder, 1)?
            .pop()
            .ok_or_else(|| RestoreError::new(Kind::Failed, "there is no free port on 127.0.0.1"))?;
        let report = restore(kind, source, prepared, &place, cancelled, progress).await?;
        drilled.revision = report.hashkv.revision;
        drilled.compact_revision = report.hashkv.compact_revision;
        drilled.restored_hash = Some(report.hashkv.hash);
        let seconds = report.seconds;
        drilled.restore_seconds = seconds.index + seconds.write + seconds.verify;
        drilled.source = match report
            .compared_with
            .iter()
            .map(|proof| proof.revision)
            .max()
        {
            Some(at) => {
                format!("the rows give the HashKV that the source reported at revision {at}")
            }
            None => "the source reported no HashKV to compare with".to_owned(),
        };

        let booting = Instant::now();
        let mut members =
            members::Cluster::start(kind, self.programs.as_ref(), vec![place], Some(TOKEN)).await?;
        let answered = ask(&members, drilled.revision).await;
        drilled.boot_seconds = booting.elapsed().as_secs_f64();
        members.check()?;
        members.stop().await?;
        let (hash, compact_revision, server) = answered?;
        drilled.server = Some(format!("{} {server}", kind.name()));
        drilled.booted_hash = Some(hash);
        let compacted = compact_revision.max(0);
        if (hash, compacted) == (report.hashkv.hash, drilled.compact_revision.0.max(0)) {
            return Ok(());
        }
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "the booted server gives HashKV {hash} at revision {} (compact revision {compact_revision}), the restore computed {} \
                 (compact revision {})",
                drilled.revision, report.hashkv.hash, drilled.compact_revision
            ),
        ))
    }
}

const fn tells_of_the_vault(kind: Kind) -> bool {
    matches!(kind, Kind::Verification | Kind::Gap | Kind::OutsideCoverage)
}

/// One of the revisions in closed ranges, each as likely as any other.
fn any_of(ranges: &[(Revision, Revision)]) -> Option<Revision> {
    let sizes = ranges.iter().map(|(first, last)| last.0 - first.0 + 1);
    let all: i64 = sizes.sum();
    let mut at = (all > 0).then(|| rand::rng().random_range(0..all))?;
    for (first, last) in ranges {
        let size = last.0 - first.0 + 1;
        if at < size {
            return Some(Revision(first.0 + at));
        }
        at -= size;
    }
    None
}

async fn restore(
    kind: members::Kind,
    source: &Source,
    prepared: Prepared,
    place: &Place,
    cancelled: watch::Receiver<bool>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<Report, RestoreError> {
    let cluster = RestoredCluster {
        members: vec![NewMember {
            name: place.name.clone(),
            peer_urls: vec![place.peer_url.clone()],
        }],
        token: TOKEN.to_owned(),
    };
    let path = place.directory.clone();
    let destination = match kind {
        members::Kind::Store => Destination::StoreDir { path, cluster },
        members::Kind::Etcd => Destination::DataDir {
            path,
            wal_dir: None,
            cluster,
            name: place.name.clone(),
        },
    };
    let source = source.clone();
    let runtime = Handle::current();
    let working = tokio::task::spawn_blocking(move || {
        execute(
            &runtime,
            &source,
            &prepared,
            &destination,
            &cancelled,
            0.0,
            &|bytes| progress(bytes),
        )
    });
    working.await.map_err(|error| {
        RestoreError::new(Kind::Failed, "the restore's thread ended early").because(error)
    })?
}

/// HashKV and its compact revision, and the server's version, after a linearizable read.
async fn ask(
    members: &members::Cluster,
    revision: Revision,
) -> Result<(u32, i64, String), RestoreError> {
    let mut client = members.client().await?;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| members::failed(&what, error)
    };
    client
        .get("\0", None)
        .await
        .map_err(failed("read from the booted member"))?;
    let status = client
        .status()
        .await
        .map_err(failed("ask the booted member for its version"))?;
    let mut maintenance = client.maintenance_client();
    let hash = maintenance
        .hash_kv(revision.0)
        .await
        .map_err(failed("ask the booted member for HashKV"))?;
    Ok((
        hash.hash(),
        hash.compact_version(),
        status.version().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_revision_is_one_of_the_covered() {
        let ranges = [(Revision(3), Revision(4)), (Revision(9), Revision(9))];
        let drawn: std::collections::BTreeSet<_> = (0..500)
            .filter_map(|_| any_of(&ranges))
            .map(|it| it.0)
            .collect();
        assert_eq!(drawn, [3, 4, 9].into());
        assert_eq!(any_of(&[]), None);
    }
}
