//! Does a drill.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use revkeep_schemas::Revision;
use revkeep_vault::Cluster;
use tokio::sync::watch;

use super::boot::{TOKEN, ask, restore};
use super::compare::Restored;
use super::draw::{Drawn, draw};
use super::drilled::Drilled;
use crate::error::{Kind, RestoreError};
use crate::members::{self, places};
use crate::overlap::Overlaps;
use crate::plan::{History, Target};
use crate::point::{Resolved, Wanted, resolve};
use crate::prepare::{Prepared, Request, prepare};
use crate::source::Source;

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
        let Drawn {
            resolved: Resolved { source, target },
            damage,
        } = self.resolve(cluster).await?;
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
            damage,
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

    async fn resolve(&self, cluster: &Cluster) -> Result<Drawn, RestoreError> {
        let timeline = self.timeline.as_deref();
        match &self.which {
            Which::This(wanted) => Ok(Drawn {
                resolved: resolve(cluster, timeline, wanted).await?,
                damage: Vec::new(),
            }),
            Which::Random => draw(cluster, timeline).await,
        }
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
        drilled.damage.append(&mut prepared.damage);
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
