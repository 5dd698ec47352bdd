//! `revkeep import`.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use chrono::Local;
use clap::Args;
use revkeep_schemas::Revision;
use revkeep_schemas::boltdb::Trailer;
use revkeep_vault::{BaseManifest, TimelineId, Vault};
use serde::Serialize;

use super::{Output, answer, signals};
use crate::error::{Kind, RestoreError};
use crate::import::{Home, SnapshotFile, Told, Where, home, store};
use crate::point::{moment, noted, time};
use crate::report::size;
use crate::source::checked;

const WRITER: &str = concat!("revkeep import ", env!("CARGO_PKG_VERSION"));

/// What `revkeep import` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  etcdctl snapshot save now.db && revkeep import now.db --cluster prod
  revkeep import /var/lib/rancher/k3s/server/db/snapshots/on-demand-1 --cluster k3s --taken-at '2026-03-01T04:00:00Z'
  revkeep import old.db --cluster prod --new-timeline")]
pub(super) struct Arguments {
    /// The snapshot
    file: PathBuf,
    /// The cluster in the vault: a new one, or one with a timeline that has the same content at that revision
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// Into this timeline, if its content at that revision is the file's
    #[arg(long, value_name = "ID", conflicts_with = "new_timeline")]
    timeline: Option<String>,
    /// Open a new timeline if no timeline has this content. It is the newest then, which restores take by default
    #[arg(long)]
    new_timeline: bool,
    /// When the snapshot was taken; by default when the file was last changed
    #[arg(long, value_name = "TIME")]
    taken_at: Option<String>,
    /// The release of the member that the snapshot is of; by default what the file says, which is its series alone
    #[arg(long, value_name = "X.Y.Z")]
    etcd_version: Option<String>,
    /// Verify the file, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<String>,
    revision: Revision,
    compact_revision: Revision,
    etcd_version: String,
    rows: u64,
    db_bytes: u64,
    /// HashKV of the rows at the revision and the compact revision.
    hashkv: u32,
    /// Whether a SHA-256 in the file was checked.
    sha256: bool,
    /// `imported`, `already there`, or `verified`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<u64>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Report {
    fn of(file: &SnapshotFile) -> Self {
        let sha256 = file.trailer == Trailer::Valid;
        let mut notes = Vec::new();
        if !sha256 {
            notes.push(
                "the file has no SHA-256 at its end, as a copy of a member's own file: its pages and rows are sound, but nothing \
                 proves their values, and what the member had only in its log is not in it"
                    .to_owned(),
            );
        }
        Self {
            file: file.path.clone(),
            cluster: None,
            timeline: None,
            revision: file.position.revision,
            compact_revision: file.position.compact_revision,
            etcd_version: file.etcd_version.clone(),
            rows: file.rows,
            db_bytes: file.db.pages_bytes(),
            hashkv: file.hash,
            sha256,
            outcome: "verified",
            stored_bytes: None,
            notes,
            next: None,
        }
    }

    fn imported(&mut self, base: &BaseManifest) {
        self.outcome = "imported";
        self.stored_bytes = Some(base.stored_bytes);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<17} {}", self.outcome, self.file.display())?;
        if let (Some(cluster), Some(timeline)) = (&self.cluster, &self.timeline) {
            writeln!(f, "{:<17} {cluster} (timeline {timeline})", "cluster")?;
        }
        writeln!(f, "{:<17} {}", "revision", self.revision)?;
        writeln!(f, "{:<17} {}", "compact revision", self.compact_revision)?;
        writeln!(f, "{:<17} {}", "etcd", self.etcd_version)?;
        writeln!(
            f,
            "{:<17} {}, file of {}",
            "rows",
            self.rows,
            size(self.db_bytes)
        )?;
        writeln!(f, "{:<17} {}", "HashKV", self.hashkv)?;
        if let Some(bytes) = self.stored_bytes {
            writeln!(f, "{:<17} {}", "in the vault", size(bytes))?;
        }
        for note in &self.notes {
            writeln!(f, "{:<17} {note}", "note")?;
        }
        match &self.next {
            Some(next) => writeln!(f, "{:<17} {next}", "next"),
            None => Ok(()),
        }
    }
}

/// Verifies a snapshot and makes a base of it.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let mut cancelled = signals::cancellation();
    let ended = cancelled.clone();
    let empty = OnceLock::new();
    let work = Box::pin(import(vault, arguments, ended, &empty));
    let done = tokio::select! {
        report = work => report,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(RestoreError::new(
            Kind::Interrupted,
            "interrupted; no base was stored. Run the same command again",
        )),
    };
    match (done, empty.get()) {
        (Ok(report), _) => answer(&report, output),
        (Err(error), None) => Err(error),
        // The error has its cause in its words.
        (Err(error), Some(timeline)) => Err(RestoreError::new(
            error.kind(),
            format!(
                "{error}; timeline {timeline}, which was opened for it, stays without content: no restore takes it while another has \
                 any, and the same command goes on with it"
            ),
        )),
    }
}

async fn import(
    vault: &str,
    arguments: &Arguments,
    cancelled: tokio::sync::watch::Receiver<bool>,
    empty: &OnceLock<TimelineId>,
) -> Result<Report, RestoreError> {
    let name = checked(&arguments.cluster)?;
    let taken = arguments.taken_at.as_deref();
    let taken = taken
        .map(|words| moment(words, &Local::now()))
        .transpose()?;
    let told = Told {
        etcd_version: arguments.etcd_version.clone(),
        taken_unix_ms: taken.map(|moment| moment.unix_ms),
    };
    let path = arguments.file.clone();
    let mut file = apart(move || SnapshotFile::open(&path, &told)).await?;
    let mut report = Report::of(&file);
    if arguments.dry_run {
        return Ok(report);
    }
    let place = match &arguments.timeline {
        Some(id) => Where::Timeline(id.clone()),
        None if arguments.new_timeline => Where::New,
        None => Where::Proved,
    };
    let vault = Vault::create(vault).await?.with_writer(WRITER);
    let cluster = vault.cluster(&name);
    let timeline = match home(&cluster, &file, &place, &cancelled).await? {
        Home::AlreadyThere(timeline) => {
            report.outcome = "already there";
            timeline
        }
        Home::In(source) => {
            let noted = noted(&source, file.position.revision).await?;
            if let Some(seen) = file.not_taken_before(noted) {
                report.notes.push(format!(
                    "the file was last changed before its revision was first seen, ≈ {}: that counts as when it was taken. \
                     --taken-at says otherwise",
                    time(seen).unwrap_or_default()
                ));
            }
            report.imported(&store(&source.timeline, &file).await?);
            source.timeline
        }
        Home::Empty(timeline) => {
            let _first = empty.set(timeline.id());
            report.imported(&store(&timeline, &file).await?);
            timeline
        }
    };
    report.next = Some(format!(
        "revkeep restore {name} --timeline {} --to-revision {} --dry-run",
        timeline.id(),
        report.revision
    ));
    report.cluster = Some(name.to_string());
    report.timeline = Some(timeline.id().to_string());
    Ok(report)
}

/// Does what blocks on a thread of its own, which nobody waits for once a signal has come: it only reads, and a file may take as
/// long as it likes.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    let (sender, done) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("verify".to_owned())
        .spawn(move || {
            let _nobody_waits = sender.send(work());
        })
        .map_err(RestoreError::io("start a thread"))?;
    done.await.map_err(|error| {
        RestoreError::new(Kind::Failed, "the verification's thread ended early").because(error)
    })?
}
