//! The two commands.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseManifest;
use revkeep_vault::ErrorKind;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::AgentError;
use crate::backoff::Backoff;
use crate::base::{Driver, clean, take, write};
use crate::capture::batch::{Batcher, Limits};
use crate::capture::{Capture, Wires};
use crate::gap::gaps;
use crate::head::HeadKeeper;
use crate::lease::Leases;
use crate::lineage::{connect_first, not_behind, timeline_for};
use crate::schedule::Schedule;
use crate::ship::{Facts, Shipper, Shipping, bounded};
use crate::source::{Connection, Member};
use crate::status::{self, HealthLimits, LastBase, Listen, Live, Monitor, Phase, StatusHandle};
use crate::target::{Target, open_cluster};

/// The longest wait before the vault is opened again.
const OPEN_RETRY_LIMIT: Duration = Duration::from_secs(30);
/// How long the last head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// The file that a running agent holds locked in its state directory.
const LOCK: &str = "lock";

/// Where from and where to.
#[derive(Clone, Debug)]
pub struct Route {
    /// The source.
    pub connection: Connection,
    /// The vault's address.
    pub vault: String,
    /// The cluster's name in the vault.
    pub cluster: String,
    /// Where snapshots are spooled; a temporary directory when absent.
    pub state_dir: Option<PathBuf>,
}

/// How capture runs.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// When a segment is sealed.
    pub limits: Limits,
    /// Rows that may wait for the vault, in bytes.
    pub queue_bytes: usize,
    /// When bases are taken.
    pub schedule: Option<Schedule>,
    /// How many revisions capture may be behind before it takes a base instead of watching them.
    pub catch_up_limit: i64,
    /// How long a stop may take to hand over and store what is held.
    pub grace: Duration,
    /// Where the status is served.
    pub listen: Listen,
}

/// A route that was found: both ends are open and belong together.
struct Opened {
    target: Target,
    member: Member,
    spool: Spool,
    previous: Option<Arc<BaseManifest>>,
    cursor: Option<Revision>,
}

async fn open(route: &Route) -> Result<Opened, AgentError> {
    let spool = Spool::open(route.state_dir.as_deref())?;
    let cluster = open_cluster(&route.vault, &route.cluster).await?;
    let (member, identity) = connect_first(&route.connection).await?;
    let target = timeline_for(cluster, &identity).await?;
    let newest = target.timeline.newest().await?;
    let cursor = newest.as_ref().map(|newest| newest.cursor);
    if let Some(cursor) = cursor {
        // Asked after the vault was read: another agent may have stored what was not there before.
        not_behind(&target, cursor, member.current_revision().await?)?;
    }
    let previous = newest.map(|newest| Arc::new(newest.base));
    Ok(Opened {
        target,
        member,
        spool,
        previous,
        cursor,
    })
}

/// As [`open`], but waits for a vault that is away: a restart would bring it back no sooner, and would take the pod out of
/// service that the agent shares with etcd.
async fn open_in_time(route: &Route, monitor: &Monitor) -> Result<Opened, AgentError> {
    let mut backoff = Backoff::new(OPEN_RETRY_LIMIT);
    loop {
        let error = match Box::pin(open(route)).await {
            Err(AgentError::Vault(error)) if error.kind() == ErrorKind::Retry => error,
            opened => return opened,
        };
        let wait = backoff.step();
        tracing::warn!(%error, ?wait, "the vault was not opened, trying again");
        monitor.vault_failed(&error);
        // Meanwhile it is told whether the source answers.
        match connect_first(&route.connection).await {
            Ok(_) => monitor.enter(Phase::Opening, Some(&error)),
            Err(error) => monitor.enter(Phase::Starting, Some(&error)),
        }
        tokio::time::sleep(wait).await;
    }
}

/// Captures until `stop`, then flushes, within [`RunOptions::grace`]; serves its status meanwhile.
///
/// # Errors
/// [`AgentError::Lineage`] when the source is another one, [`AgentError::Internal`] when not everything was stored in time,
/// or when a task that capture relies on ended.
pub async fn run(
    route: Route,
    options: RunOptions,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let limits = HealthLimits {
        flush_interval: options.limits.interval,
        schedule: options.schedule.clone(),
    };
    let status = Arc::new(StatusHandle::new(&route.cluster, limits));
    let tls = route.connection.tls.clone();
    let serving = status::start(&status, &options.listen, tls).await?;
    let capturing = async {
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = open_in_time(&route, status.monitor()) => opened?,
        };
        capture(route, options, &status, opened, stop).await
    };
    let captured = Box::pin(capturing).await;
    serving.end().await;
    captured
}

async fn capture(
    route: Route,
    options: RunOptions,
    status: &StatusHandle,
    opened: Opened,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let monitor = status.monitor();
    let Opened {
        target,
        spool,
        previous,
        cursor,
        ..
    } = opened;
    tracing::info!(
        cluster = %target.cluster.name(),
        timeline = %target.timeline.id(),
        cursor = cursor.map(|cursor| cursor.0),
        "capture starts"
    );
    let (base, compact) = previous.as_ref().map_or_else(Default::default, |base| {
        (base.facts.revision, base.facts.compact_revision)
    });
    monitor.opened(previous.as_ref().map(|base| LastBase::from(&base.facts)));
    let head = HeadKeeper::new(base, compact, cursor).telling(Arc::clone(monitor));
    let head = Arc::new(head);
    let leases = Arc::new(Leases::default());
    if let Some(base) = &previous {
        leases.learn(&base.facts.buckets);
    }
    let member = watch::Sender::new(None);
    let (queue, batches) = bounded(options.queue_bytes);
    let (jobs, incoming) = mpsc::channel(4);
    let (shipped, based) = (queue.clone(), jobs.clone());
    let (gaps, recorder) = gaps(target.clone(), Arc::clone(&head));
    // What serves the others ends after them.
    let done = CancellationToken::new();
    let heading = tokio::spawn(head.writer(target.clone()).run(done.clone()));
    let leasing = tokio::spawn(Arc::clone(&leases).run(member.subscribe(), done.clone()));
    let recording = tokio::spawn(recorder.run());
    let shipping = Shipper {
        target: target.clone(),
        facts: Facts::new(member.subscribe(), Arc::clone(&leases), compact),
        head: Arc::clone(&head),
    }
    .start(batches);
    let driver = Driver {
        connection: route.connection.clone(),
        target: target.clone(),
        spool: spool.path().to_path_buf(),
        schedule: options.schedule,
        head: Arc::clone(&head),
        gaps: gaps.clone(),
        leases: Arc::clone(&leases),
        previous,
    };
    let basing = tokio::spawn(driver.run(incoming, stop.clone()));
    let tasks = tasks(&shipping, [&basing, &recording, &leasing, &heading]);
    let seen = member.subscribe();
    status.attach(Live::new(&target, &head, seen, &jobs, tasks));
    let wires = Wires {
        connection: route.connection,
        target,
        spool: spool.path().to_path_buf(),
        queue,
        jobs,
        gaps,
        leases,
        head,
        member,
        catch_up_limit: options.catch_up_limit,
    };
    let mut capture = Capture::new(wires, Batcher::new(options.limits), cursor);
    let captured = tokio::select! {
        captured = Box::pin(capture.run(&stop)) => captured,
        // Without them nothing that is captured gets anywhere. What they died of is told first, below.
        () = shipped.closed() => Err(ended_early("shipping")),
        () = based.closed() => Err(ended_early("base")),
    };
    drop((shipped, based));
    stop.cancel();
    monitor.enter(Phase::Stopping, None);
    let died = |task| move |error| AgentError::Internal(format!("the {task} task: {error}"));
    let finishing = async {
        Box::pin(capture.finish()).await;
        shipping.finished().await?;
        basing.await.map_err(died("base"))?;
        recording.await.map_err(died("gap"))
    };
    let finished = tokio::time::timeout(options.grace, finishing).await;
    done.cancel();
    leasing.await.map_err(died("lease"))?;
    // The head is a hint: where the store is away it is not waited for.
    if let Ok(ended) = tokio::time::timeout(HEAD_PATIENCE, heading).await {
        ended.map_err(died("head"))?;
    }
    if let Ok(outcome) = finished {
        outcome?;
        captured?;
        tracing::info!("everything captured is durable");
        return Ok(());
    }
    captured?;
    Err(AgentError::Internal(
        "not everything reached the vault within the grace time; the next start captures it again"
            .to_owned(),
    ))
}

/// What must run for as long as capture does, by name.
fn tasks(shipping: &Shipping, others: [&JoinHandle<()>; 4]) -> Vec<(&'static str, AbortHandle)> {
    let others = others.map(JoinHandle::abort_handle);
    let others = ["base", "gap", "lease", "head"].into_iter().zip(others);
    shipping.tasks().into_iter().chain(others).collect()
}

fn ended_early(task: &str) -> AgentError {
    AgentError::Internal(format!("the {task} task has ended before it was asked to"))
}

/// Takes one base, and gives what was stored.
pub async fn snapshot(route: &Route) -> Result<BaseManifest, AgentError> {
    let opened = Box::pin(open(route)).await?;
    let taken = take(&opened.member, opened.spool.path()).await?;
    write(&opened.target, &taken, opened.previous.as_deref()).await
}

/// Where snapshots are spooled.
enum Spool {
    /// Ours, removed at the end.
    Temporary(TempDir),
    /// The operator's, locked.
    Given { directory: PathBuf, _lock: File },
}

impl Spool {
    fn open(directory: Option<&Path>) -> Result<Self, AgentError> {
        let Some(directory) = directory else {
            let made = tempfile::Builder::new().prefix("revkeep-agent-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(AgentError::io("make a temporary directory"));
        };
        std::fs::create_dir_all(directory)
            .map_err(AgentError::io(format!("make {}", directory.display())))?;
        let lock = lock(directory)?;
        clean(directory)?;
        Ok(Self::Given {
            directory: directory.to_path_buf(),
            _lock: lock,
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Given { directory, .. } => directory,
        }
    }
}

/// Makes sure that nobody else cleans this directory, or has it cleaned. The lock goes with the file, however we end.
fn lock(directory: &Path) -> Result<File, AgentError> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(AgentError::io(format!("make {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(AgentError::Config(format!(
                "--state-dir: another agent uses {}: give each its own",
                directory.display()
            )));
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, "the file system of --state-dir has no locks: no other agent may use it");
        }
    }
    Ok(file)
}
