//! The two commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseManifest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::AgentError;
use crate::Schedule;
use crate::backoff::Backoff;
use crate::base::{Bridge, take, write};
use crate::capture::batch::Limits;
use crate::config::Dial;
use crate::gap::gaps;
use crate::lineage::judge;
use crate::maintenance::{Keeper, Permit, Upkeep};
use crate::open::{Opened, open, open_in_time};
use crate::session::{Session, Stragglers};
use crate::source::{Connection, Prefer};
use crate::spool::{Place, Spool};
use crate::state_dir::StateDir;
use crate::status::{self, HealthLimits, Phase, StatusAddress, StatusHandle};
use crate::turn::UploadPolicy;

/// The longest wait before the vault is opened again.
const REOPEN_LIMIT: Duration = Duration::from_secs(15);

/// How long the `snapshot` command waits for what an agent beside it may have captured: longer than the default flush
/// interval.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at the vault meanwhile.
const SNAPSHOT_LOOK: Duration = Duration::from_secs(2);

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
    /// Who uploads where there are several agents.
    pub upload: UploadPolicy,
    /// Which member sends snapshots.
    pub prefer: Prefer,
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
/// When a setting is wrong or nothing could be opened at first; [`AgentError::Internal`] when not everything was stored in time, or
/// when a task that capture relies on ended. A source that is another one is no error: its own timeline is captured.
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
        permit: options.permit.clone().in_turn(options.upkeep.clone(), {
            let status = Arc::clone(&status);
            move || status.uploads()
        }),
        monitor: Arc::clone(status.monitor()),
    };
    let keeping = AbortOnDropHandle::new(tokio::spawn(keeper.run(stop.clone())));
    let capturing = async {
        let state_dir = StateDir::open(route.state_dir.as_deref())?;
        let mut stragglers = Stragglers::default();
        let sessions = sessions(
            &route,
            &options,
            &status,
            (&state_dir, &mut stragglers),
            &stop,
        );
        let ended = Box::pin(sessions).await;
        stragglers.finish(options.grace.get()).await;
        ended
    };
    let captured = Box::pin(capturing).await;
    drop(keeping);
    serving.end().await;
    captured
}

/// One timeline after another: whenever the source turns out to be another history, its own is found or opened, and
/// captured from then on.
async fn sessions(
    route: &Route,
    options: &RunOptions,
    status: &StatusHandle,
    (state_dir, stragglers): (&StateDir, &mut Stragglers),
    stop: &CancellationToken,
) -> Result<(), AgentError> {
    let monitor = status.monitor();
    let mut backoff = Backoff::new(REOPEN_LIMIT);
    let mut first = true;
    loop {
        let opening = async {
            let mut opened = open_in_time(route, state_dir.path(), monitor).await?;
            let mut place = Place::of(&opened.target);
            while stragglers.yield_to(&place).await {
                // It stored some of what it had since the vault was listed.
                opened = open_in_time(route, state_dir.path(), monitor).await?;
                place = Place::of(&opened.target);
            }
            let spool = Spool::open(state_dir.path(), place, options.spool_limit.clone()).await?;
            Ok::<_, AgentError>((opened, Arc::new(spool)))
        };
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = Box::pin(opening) => opened,
        };
        let error = match opened {
            Ok((opened, spool)) => {
                first = false;
                let session = Session {
                    route,
                    options,
                    status,
                    state_dir,
                };
                let captured = session.capture(opened, spool, stragglers, stop);
                match Box::pin(captured).await {
                    // Also where the stop came just now: what was captured is on its way.
                    Err(error @ (AgentError::Lineage(_) | AgentError::Reopen)) => error,
                    ended => return ended,
                }
            }
            // Where nothing was captured yet, a wrong setting is told by ending; what only waiting mends is waited for.
            Err(error)
                if first && !matches!(error, AgentError::Diverged(_) | AgentError::Lineage(_)) =>
            {
                return Err(error);
            }
            Err(error @ AgentError::Config(_)) => return Err(error),
            Err(error) => error,
        };
        let wait = backoff.step();
        monitor.diverged(match &error {
            AgentError::Diverged(reason) => Some(reason.clone()),
            _ => None,
        });
        match &error {
            AgentError::Lineage(reason) => {
                tracing::warn!(
                    reason,
                    "the source is not what was captured: its history is looked for in the vault"
                );
            }
            AgentError::Reopen => tracing::info!("the vault is opened again"),
            error => {
                tracing::warn!(%error, ?wait, "the source was not found in the vault, trying again");
                monitor.enter(Phase::Disconnected, Some(error));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Takes one base, and gives what was stored.
pub async fn snapshot(route: &Route, prefer: Prefer) -> Result<BaseManifest, AgentError> {
    let state_dir = StateDir::open(route.state_dir.as_deref())?;
    let (mut opened, member) = Box::pin(open(route, state_dir.path())).await?;
    let connection = &route.connection;
    let taken = if let Some(taken) = opened.taken.take() {
        taken
    } else {
        let preferred = prefer.member(connection, &member).await;
        let taken = take(preferred.as_ref().unwrap_or(&member), state_dir.path()).await?;
        let timeline = Some(&opened.target.timeline);
        judge(&taken, &opened.known, timeline, (connection, &member)).await?;
        taken
    };
    settle(&opened, taken.position.compact_revision).await?;
    write(&opened.target, &taken, opened.previous.as_deref()).await
}

/// What lies before the base is stored, perhaps by an agent that runs beside this command, or recorded as lost.
async fn settle(opened: &Opened, compact: Revision) -> Result<(), AgentError> {
    let head = Arc::new(opened.head());
    let (gaps, recorder) = gaps(opened.target.clone(), Arc::clone(&head));
    let recording = AbortOnDropHandle::new(tokio::spawn(recorder.run()));
    let timeline = &opened.target.timeline;
    let bridge = Bridge {
        timeline,
        head: &head,
        gaps: &gaps,
        spool: None,
        patience: SNAPSHOT_PATIENCE,
    };
    let looking = async {
        loop {
            tokio::time::sleep(SNAPSHOT_LOOK).await;
            // Where it does not answer, nothing is known to have come.
            if let Ok(Some(reach)) = timeline.cursor().await {
                head.found(reach);
            }
        }
    };
    tokio::select! {
        settled = bridge.settle(compact) => settled?,
        () = looking => {}
    }
    drop(recording);
    Ok(())
}
