//! The two commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::manifest::BaseManifest;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::AgentError;
use crate::base::{Driver, take, write};
use crate::capture::batch::{Batcher, Limits};
use crate::capture::{Capture, Wires};
use crate::config::Dial;
use crate::gap::gaps;
use crate::head::HeadKeeper;
use crate::lease::Leases;
use crate::maintenance::{Keeper, Permit, Upkeep};
use crate::open::{Opened, open, open_in_time};
use crate::remembered::remember;
use crate::schedule::Schedule;
use crate::ship::{Facts, Shipper, Shipping, bounded};
use crate::source::Connection;
use crate::spool::{Place, Spool};
use crate::state_dir::StateDir;
use crate::status::{self, HealthLimits, LastBase, Live, Phase, StatusAddress, StatusHandle};

/// How long the last head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);

/// Where from and where to.
#[derive(Clone, Debug)]
pub struct Route {
    /// The source.
    pub connection: Connection,
    /// The vault's address.
    pub vault: String,
    /// The cluster's name in the vault.
    pub cluster: String,
    /// Where snapshots and segments are spooled; a temporary directory when absent.
    pub state_dir: Option<PathBuf>,
}

/// How capture runs.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// When a segment is sealed.
    pub limits: Dial<Limits>,
    /// Rows that may wait to be sealed, in bytes.
    pub queue_bytes: usize,
    /// Sealed segments that may wait for the vault, in bytes.
    pub spool_limit: Dial<u64>,
    /// How long an attempt to store a small segment may take.
    pub upload_deadline: Dial<Duration>,
    /// When bases are taken.
    pub schedule: Dial<Option<Schedule>>,
    /// How many revisions capture may be behind before it takes a base instead of watching them.
    pub catch_up_limit: Dial<i64>,
    /// How long a stop may take to hand over and store what is held.
    pub grace: Dial<Duration>,
    /// What is done for the source beside reading it.
    pub upkeep: Dial<Upkeep>,
    /// Whether it is this agent that does it.
    pub permit: Permit,
    /// Where the status is served.
    pub listen: StatusAddress,
}

impl Route {
    /// Takes up what can change while the agent runs.
    pub(crate) fn adopt(&self, other: &Self) {
        self.connection.adopt(&other.connection);
    }
}

impl RunOptions {
    /// Takes up what can change while the agent runs.
    pub(crate) fn adopt(&self, other: &Self) {
        self.limits.set(other.limits.get());
        self.spool_limit.set(other.spool_limit.get());
        self.upload_deadline.set(other.upload_deadline.get());
        self.schedule.set(other.schedule.get());
        self.catch_up_limit.set(other.catch_up_limit.get());
        self.grace.set(other.grace.get());
        self.upkeep.set(other.upkeep.get());
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
        flush: options.limits.clone(),
        schedule: options.schedule.clone(),
        upkeep: options.upkeep.clone(),
    };
    let status = Arc::new(StatusHandle::new(&route.cluster, limits));
    let connection = route.connection.clone();
    let serving = status::start(&status, &options.listen, connection).await?;
    let keeper = Keeper {
        connection: route.connection.clone(),
        upkeep: options.upkeep.clone(),
        permit: options.permit.clone(),
        monitor: Arc::clone(status.monitor()),
    };
    let keeping = AbortOnDropHandle::new(tokio::spawn(keeper.run(stop.clone())));
    let capturing = async {
        let state_dir = StateDir::open(route.state_dir.as_deref())?;
        let opening = async {
            let opened = open_in_time(&route, state_dir.path(), status.monitor()).await?;
            let place = Place::of(&opened.target);
            let spool = Spool::open(state_dir.path(), place, options.spool_limit.clone()).await?;
            Ok::<_, AgentError>((opened, Arc::new(spool)))
        };
        let (opened, spool) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = Box::pin(opening) => opened?,
        };
        capture(route, options, &status, opened, (&state_dir, spool), stop).await
    };
    let captured = Box::pin(capturing).await;
    drop(keeping);
    serving.end().await;
    captured
}

async fn capture(
    route: Route,
    options: RunOptions,
    status: &StatusHandle,
    opened: Opened,
    (state_dir, spool): (&StateDir, Arc<Spool>),
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let monitor = status.monitor();
    let resume = opened.cursor.map(|durable| spool.reach(durable));
    opened.tell(resume);
    let Opened {
        target,
        previous,
        base: (base, compact),
        cursor,
        away,
    } = opened;
    let directory = state_dir.path().to_path_buf();
    if !away {
        monitor.opened(previous.as_ref().map(|base| LastBase::from(&base.facts)));
    }
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
    let places = (directory.clone(), route.vault.clone(), target.clone());
    let remembering = tokio::spawn(remember(places, Arc::clone(&head), done.clone()));
    let leasing = tokio::spawn(Arc::clone(&leases).run(member.subscribe(), done.clone()));
    let recording = tokio::spawn(recorder.run());
    let shipping = Shipper {
        target: target.clone(),
        spool: Arc::clone(&spool),
        facts: Facts::new(member.subscribe(), Arc::clone(&leases), compact),
        head: Arc::clone(&head),
        deadline: options.upload_deadline,
    }
    .start(batches);
    let driver = Driver {
        connection: route.connection.clone(),
        target: target.clone(),
        spool: directory.clone(),
        schedule: options.schedule,
        head: Arc::clone(&head),
        gaps: gaps.clone(),
        leases: Arc::clone(&leases),
        previous,
    };
    let basing = tokio::spawn(driver.run(incoming, stop.clone()));
    let tasks = tasks(&shipping, [&basing, &recording, &leasing, &heading]);
    let seen = member.subscribe();
    status.attach(Live::new(&target, (&head, &spool), seen, &jobs, tasks));
    let wires = Wires {
        connection: route.connection,
        target,
        spool: directory,
        queue,
        holes: spool.holes(),
        jobs,
        gaps,
        leases,
        head,
        member,
        catch_up_limit: options.catch_up_limit,
    };
    let mut capture = Capture::new(wires, Batcher::new(options.limits), resume);
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
    let finished = tokio::time::timeout(options.grace.get(), finishing).await;
    done.cancel();
    leasing.await.map_err(died("lease"))?;
    remembering.await.map_err(died("remembering"))?;
    // The head is a hint: where the store is away it is not waited for.
    if let Ok(ended) = tokio::time::timeout(HEAD_PATIENCE, heading).await {
        ended.map_err(died("head"))?;
    }
    let in_time = finished.is_ok();
    if let Ok(outcome) = finished {
        outcome?;
    }
    captured?;
    conclude(&spool, state_dir, in_time)
}

/// What became of all that was captured.
fn conclude(spool: &Spool, state_dir: &StateDir, in_time: bool) -> Result<(), AgentError> {
    let hole = *spool.holes().borrow();
    if let Some(hole) = hole {
        return Err(AgentError::Internal(format!(
            "the spool was full: what came after revision {} was not kept; the next start captures it again, as far as \
             the source still has it",
            hole.kept
        )));
    }
    if in_time {
        tracing::info!("everything captured is durable");
        return Ok(());
    }
    match spool.left() {
        Some((segments, bytes)) if state_dir.stays() => {
            tracing::warn!(
                segments,
                bytes,
                "not everything reached the vault within the grace time; the rest is in the spool for the next start"
            );
            Ok(())
        }
        _ => Err(AgentError::Internal(
            "not everything reached the vault within the grace time; the next start captures it again"
                .to_owned(),
        )),
    }
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
    let state_dir = StateDir::open(route.state_dir.as_deref())?;
    let (opened, member) = Box::pin(open(route)).await?;
    let taken = take(&member, state_dir.path()).await?;
    write(&opened.target, &taken, opened.previous.as_deref()).await
}
