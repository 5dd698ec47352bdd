//! A drill: a revision is restored into a temporary folder, a server boots on it, and its HashKV is compared.
//!
//! Comes in: a cluster and a point in its history. Goes out: what was proved, as a [`Drilled`] that becomes a receipt.
//! Promises: what is wrong with the backup is told apart from what went wrong with the drill: the first is in
//! [`Drilled::failure`], the second an error. Never: anything outside of the folder; a process that stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use rand::RngExt;
use revkeep_schemas::Revision;
use revkeep_schemas::hashkv::TombstoneRule;
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
/// A member that reads its file more slowly than this is given up.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// Which revision is drilled.
#[derive(Clone, Debug)]
pub enum Which {
    /// This one.
    This(Wanted),
    /// Any that is covered: of the timeline that is named, or of all.
    Random,
}

/// How a drill is done.
#[derive(Clone, Debug)]
pub struct Drill {
    /// The timeline; by default the newest, or any.
    pub timeline: Option<String>,
    /// The revision.
    pub which: Which,
    /// Whether real etcd boots and not the store.
    pub etcd: bool,
    /// The folder of the server; by default it is looked for beside this program and in `PATH`.
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
    /// What is damaged and was gone around, or was not needed for this revision.
    pub damage: Vec<String>,
    /// What is wrong with the backup.
    pub failure: Option<String>,
}

impl Drilled {
    /// What is stored of it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let mut summary = match (&self.failure, &self.server) {
            (Some(failure), _) => failure.clone(),
            (None, Some(server)) => format!(
                "revision {} was restored and booted by {server}: HashKV is equal; {}",
                self.revision, self.source
            ),
            (None, None) => self.source.clone(),
        };
        for damage in &self.damage {
            summary.push_str("; ");
            summary.push_str(damage);
        }
        Receipt {
            kind: ProofKind::Drill,
            sound: self.failure.is_none(),
            summary,
            ended_unix_ms: Utc::now().timestamp_millis(),
            took_ms: Duration::try_from_secs_f64(self.seconds)
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
            damage: Vec::new(),
            failure: None,
        };
        let folder = self.folder()?;
        let proving = self.prove(
            kind,
            &source,
            target,
            folder.path(),
            &cancelled,
            progress,
            &mut drilled,
        );
        let proved = Box::pin(proving).await;
        drilled.seconds = started.elapsed().as_secs_f64();
        let tidied = folder
            .close()
            .map_err(RestoreError::io("remove the folder of the drill"));
        match proved {
            Ok(()) => {}
            Err(error) if tells_of_the_vault(error.kind()) => {
                // What retention deleted meanwhile is no damage.
                match source.is_swept().await {
                    Ok(false) => drilled.failure = Some(error.to_string()),
                    Ok(true) => {
                        return Err(RestoreError::new(
                            Kind::Failed,
                            "retention has deleted what this revision needs while it was restored: run the drill again",
                        )
                        .because(error));
                    }
                    Err(asked) => {
                        let message = format!(
                            "{error}; whether retention has deleted it meanwhile could not be asked: {asked}"
                        );
                        return Err(RestoreError::new(asked.kind(), message));
                    }
                }
            }
            Err(error) => return Err(error),
        }
        match (&mut drilled.failure, tidied) {
            (_, Ok(())) => {}
            (None, Err(error)) => return Err(error),
            // What was found weighs more.
            (Some(failure), Err(error)) => *failure = format!("{failure}; and {error}"),
        }
        Ok(drilled)
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
                let source = any_source(cluster, timeline).await?;
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
        cancelled: &watch::Receiver<bool>,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
        drilled: &mut Drilled,
    ) -> Result<(), RestoreError> {
        let request = Request {
            target,
            history: History::AsSource,
            overlaps: Overlaps::Small,
        };
        let mut prepared = Box::pin(prepare(source, request)).await?;
        without_authentication(&mut prepared);
        let rule = prepared.recipe.rule;
        drilled.damage = std::mem::take(&mut prepared.damage);
        let place = places(folder, 1)?
            .pop()
            .ok_or_else(|| RestoreError::new(Kind::Failed, "there is no free port on 127.0.0.1"))?;
        let report = restore(kind, source, prepared, &place, cancelled.clone(), progress).await?;
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
        let mut again = true;
        let (members, asked) = loop {
            // Ports are picked as late as can be. What was restored has others, which a member that is alone never asks.
            let place = place.on_free_ports()?;
            let mut members =
                members::Cluster::spawn(kind, self.programs.as_ref(), vec![place], Some(TOKEN))?;
            let mut stop = cancelled.clone();
            let asking = ask(&mut members, &report);
            let asked = tokio::select! {
                asked = Box::pin(asking) => asked,
                Ok(_) = stop.wait_for(|cancelled| *cancelled) => Err(crate::replay::interrupted()),
            };
            let taken = asked.is_err() && members.finds_an_address_in_use();
            if !(taken && std::mem::take(&mut again)) {
                break (members, asked);
            }
            members.stop().await?;
        };
        drilled.boot_seconds = booting.elapsed().as_secs_f64();
        let stopped = members.stop().await;
        let booted = asked?;
        drilled.server = Some(format!("{} {}", kind.name(), booted.version));
        drilled.booted_hash = Some(booted.hash);
        let restored = Restored {
            revision: drilled.revision,
            compact_revision: drilled.compact_revision,
            hash: report.hashkv.hash,
            rule,
            version: report.plan.etcd_version.clone(),
        };
        restored.compare(kind.name(), &booted)?;
        stopped
    }
}

/// HashKV as the restore computed it.
struct Restored {
    revision: Revision,
    compact_revision: Revision,
    hash: u32,
    /// How the source hashes, and its version.
    rule: TombstoneRule,
    version: String,
}

impl Restored {
    /// Compares it with what the server gives.
    fn compare(&self, server: &str, booted: &Booted) -> Result<(), RestoreError> {
        let compacted = booted.compact_revision.max(0);
        if (booted.hash, compacted) == (self.hash, self.compact_revision.0.max(0)) {
            return Ok(());
        }
        if TombstoneRule::for_version(&booted.version) != self.rule {
            return Err(RestoreError::new(
                Kind::Invalid,
                format!(
                    "{server} {} hashes deletions at the compact revision otherwise than the source ({}), so that their HashKV differ. Try: \
                     another release with --etcd-bin",
                    booted.version, self.version
                ),
            ));
        }
        Err(RestoreError::new(
            Kind::Verification,
            format!(
                "the booted server gives HashKV {} at revision {} (compact revision {}), the restore computed {} (compact revision {})",
                booted.hash,
                self.revision,
                booted.compact_revision,
                self.hash,
                self.compact_revision
            ),
        ))
    }
}

/// The timeline that is named, or any: each as likely as it covers revisions. The newest where none covers any.
async fn any_source(cluster: &Cluster, timeline: Option<&str>) -> Result<Source, RestoreError> {
    let mut ids = cluster.timeline_ids().await?;
    let newest = ids.pop();
    if timeline.is_some() || ids.is_empty() {
        return Source::open(cluster, timeline).await;
    }
    let mut sources = Vec::new();
    let mut ranges = Vec::new();
    for id in ids.into_iter().chain(newest) {
        let source = match Source::open(cluster, Some(&id.to_string())).await {
            // A folder without a record: its agent ended before it wrote one.
            Err(error) if error.kind() == Kind::NotFound => continue,
            source => source?,
        };
        let covered = coverage(&source.holdings());
        let revisions = covered.iter().map(|(first, last)| last.0 - first.0 + 1);
        let revisions: i64 = revisions.sum();
        if revisions > 0 {
            let first = ranges
                .last()
                .map_or(0, |(_, last): &(Revision, Revision)| last.0)
                + 1;
            ranges.push((Revision(first), Revision(first + revisions - 1)));
            sources.push(source);
        }
    }
    let drawn = any_of(&ranges);
    let at = ranges
        .iter()
        .position(|(first, last)| drawn.is_some_and(|drawn| (*first..=*last).contains(&drawn)));
    match at {
        Some(at) => Ok(sources.swap_remove(at)),
        None => Source::open(cluster, None).await,
    }
}

/// Switches authentication off in what is restored, which goes away again: the drill knows nobody's password. HashKV is of
/// the keys alone.
fn without_authentication(prepared: &mut Prepared) {
    let auth = prepared
        .buckets
        .iter_mut()
        .filter(|bucket| bucket.name == b"auth");
    for bucket in auth {
        bucket.entries.retain(|(key, _)| key != b"authEnabled");
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

/// What the booted server says of itself.
struct Booted {
    hash: u32,
    compact_revision: i64,
    version: String,
}

/// Waits until the member leads, reads from it, and asks it for its HashKV. What goes wrong here is wrong with what was
/// restored: it does not boot; unless the machine is the reason.
async fn ask(members: &mut members::Cluster, report: &Report) -> Result<Booted, RestoreError> {
    let size = Duration::from_secs(report.db_bytes / SLOWEST_BYTES_PER_SECOND);
    let patience = members::READY + size;
    let led = members.wait_for_leader_within(patience).await;
    let answered = match led {
        Ok(_) => answers(members, report, patience).await,
        Err(error) => return Err(does_not_serve(members, &error)),
    };
    match members.check() {
        Ok(()) => answered,
        Err(error) => Err(does_not_serve(members, &error)),
    }
}

fn does_not_serve(members: &members::Cluster, error: &RestoreError) -> RestoreError {
    if members.fails_by_the_machine() {
        let message =
            format!("the server cannot run here, which says nothing of the backup: {error}");
        return RestoreError::new(Kind::Failed, message);
    }
    let message = format!("what was restored does not serve: {error}");
    RestoreError::new(Kind::Verification, message)
}

async fn answers(
    members: &members::Cluster,
    report: &Report,
    patience: Duration,
) -> Result<Booted, RestoreError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| members::failed(&what, error)
    };
    let mut client = members.client_for(patience).await?;
    let read = client.get("\0", None).await;
    read.map_err(failed("read from the booted member"))?;
    let status = client.status().await;
    let status = status.map_err(failed("ask the booted member for its version"))?;
    let revision = report.hashkv.revision.0;
    let mut maintenance = client.maintenance_client();
    let hash = match maintenance.hash_kv(revision).await {
        // Early releases answer at the compact revision itself only when they are asked for the current one.
        Err(_) if report.hashkv.compact_revision.0 == revision => {
            let current = maintenance.hash_kv(0).await;
            let current = current.map_err(failed("ask the booted member for HashKV"))?;
            let at = current
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
            if at != revision {
                return Err(RestoreError::new(
                    Kind::Failed,
                    format!("the booted member is at revision {at} and not at {revision} any more"),
                ));
            }
            current
        }
        hash => hash.map_err(failed("ask the booted member for HashKV"))?,
    };
    Ok(Booted {
        hash: hash.hash(),
        compact_revision: hash.compact_version(),
        version: status.version().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hash_of_the_booted_server_is_told() {
        let restored = Restored {
            revision: Revision(9),
            compact_revision: Revision(4),
            hash: 77,
            rule: TombstoneRule::for_version("3.5.21"),
            version: "3.5.21".to_owned(),
        };
        let compare = |hash, compact_revision, version: &str| {
            let booted = Booted {
                hash,
                compact_revision,
                version: version.to_owned(),
            };
            restored
                .compare("etcd", &booted)
                .map_err(|error| error.kind())
        };
        assert_eq!(compare(77, 4, "3.5.21"), Ok(()));
        assert_eq!(compare(78, 4, "3.5.21"), Err(Kind::Verification));
        assert_eq!(compare(77, 5, "3.5.21"), Err(Kind::Verification));
        // Where another release hashes otherwise, nothing is said of the backup.
        let other = ["3.4.23", "3.5.1", "3.6.16"];
        let other = other
            .into_iter()
            .find(|version| TombstoneRule::for_version(version) != restored.rule);
        assert_eq!(compare(78, 4, other.unwrap()), Err(Kind::Invalid));
        // Never compacted is told as -1 or 0.
        let restored = Restored {
            compact_revision: Revision::ZERO,
            ..restored
        };
        let booted = Booted {
            hash: 77,
            compact_revision: -1,
            version: "3.5.21".to_owned(),
        };
        assert!(restored.compare("etcd", &booted).is_ok());
    }

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
