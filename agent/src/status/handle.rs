//! What every way of asking the agent asks.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseManifest;
use revkeep_vault::TimelineId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tonic::Status;

use super::report::Surroundings;
use super::{HealthLimits, Monitor, Report};
use crate::base::Job;
use crate::head::HeadKeeper;
use crate::source::Member;
use crate::spool::Spool;
use crate::target::Target;
use crate::turn::Turns;

/// What there is once the vault is open.
#[derive(Debug)]
pub(crate) struct Live {
    /// The timeline that is captured.
    timeline: TimelineId,
    /// What is acknowledged.
    pub(super) head: Arc<HeadKeeper>,
    /// What waits for the store.
    spool: Weak<Spool>,
    /// The member that capture is connected to.
    pub(super) member: watch::Receiver<Option<Member>>,
    /// The way to the base task; weak, because that task ends when nobody can ask it for a base any more.
    jobs: mpsc::WeakSender<Job>,
    /// Whether this agent uploads.
    turns: Arc<Turns>,
    /// Tasks that must run for as long as the agent does.
    tasks: Vec<(&'static str, AbortHandle)>,
}

impl Live {
    pub(crate) fn new(
        target: &Target,
        (head, spool, turns): (&Arc<HeadKeeper>, &Arc<Spool>, &Arc<Turns>),
        member: watch::Receiver<Option<Member>>,
        jobs: &mpsc::Sender<Job>,
        tasks: Vec<(&'static str, AbortHandle)>,
    ) -> Self {
        Self {
            timeline: target.timeline.id(),
            head: Arc::clone(head),
            spool: Arc::downgrade(spool),
            member,
            jobs: jobs.downgrade(),
            turns: Arc::clone(turns),
            tasks,
        }
    }
}

/// Answers how the agent is, and asks it for what cannot wait.
#[derive(Debug)]
pub struct StatusHandle {
    cluster: String,
    limits: HealthLimits,
    monitor: Arc<Monitor>,
    live: RwLock<Option<Arc<Live>>>,
}

impl StatusHandle {
    /// Of an agent that captures into this cluster, and has only just started.
    #[must_use]
    pub fn new(cluster: &str, limits: HealthLimits) -> Self {
        Self {
            cluster: cluster.to_owned(),
            limits,
            monitor: Arc::default(),
            live: RwLock::default(),
        }
    }

    /// Where the tasks tell what happens.
    #[must_use]
    pub fn monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// The vault is open, and everything runs; for another timeline, where one was captured before.
    pub(crate) fn attach(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(live));
    }

    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it is this agent that uploads, where there are several.
    #[must_use]
    pub fn uploads(&self) -> bool {
        self.live().is_some_and(|live| live.turns.uploads())
    }

    /// How it is now.
    #[must_use]
    pub fn report(&self) -> Report {
        let live = self.live();
        let stopping = self.monitor.read(|told| told.phase) == super::Phase::Stopping;
        let live = live.as_ref();
        let tasks = live.map_or(&[][..], |live| &live.tasks);
        let ended = tasks.iter().filter(|(_, task)| task.is_finished());
        let around = Surroundings {
            cluster: self.cluster.clone(),
            timeline: live.map(|live| live.timeline),
            standing: live.map(|live| live.head.standing()).unwrap_or_default(),
            spool: live
                .and_then(|live| live.spool.upgrade())
                .map(|spool| spool.load())
                .unwrap_or_default(),
            // Asked to end, they may.
            ended: ended.map(|(name, _)| *name).filter(|_| !stopping).collect(),
            role: live.map_or("unknown", |live| live.turns.role()),
        };
        Report::now(&self.monitor, around, &self.limits)
    }

    fn ready(&self) -> Result<Arc<Live>, Status> {
        self.live()
            .ok_or_else(|| Status::unavailable("the agent is starting: the vault is not open yet"))
    }

    /// Has everything stored that the source has now, or that was seen of it where it does not answer; gives the durable
    /// revision once that is acknowledged.
    ///
    /// # Errors
    /// `UNAVAILABLE` while the agent starts.
    pub async fn flush(&self) -> Result<Revision, Status> {
        let live = self.ready()?;
        let member = live.member.borrow().clone();
        if let Some(member) = member {
            match member.current_revision().await {
                Ok(current) => live.head.source_at(current),
                Err(error) => {
                    tracing::debug!(%error, "a flush takes what was seen of the source");
                }
            }
        }
        let wanted = live.head.standing().source;
        live.head.want(wanted);
        Ok(live.head.reached(wanted).await)
    }

    /// Takes a base now; gives it once the vault has acknowledged it.
    ///
    /// # Errors
    /// `UNAVAILABLE` while the agent starts or ends, `RESOURCE_EXHAUSTED` when too many wait already, `ABORTED` when it
    /// was not taken or not stored.
    pub async fn snapshot(&self) -> Result<Arc<BaseManifest>, Status> {
        let ending = || Status::unavailable("the agent is ending");
        let jobs = self.ready()?.jobs.upgrade().ok_or_else(ending)?;
        let (reply, answer) = oneshot::channel();
        jobs.try_send(Job::asked(reply))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    Status::resource_exhausted("other bases wait to be taken: try again later")
                }
                mpsc::error::TrySendError::Closed(_) => ending(),
            })?;
        drop(jobs);
        let outcome = answer.await.map_err(|_| ending())?;
        outcome.map_err(|error| Status::aborted(format!("no base was written: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::*;

    fn attached(task: AbortHandle) -> StatusHandle {
        let status = StatusHandle::new("test", HealthLimits::default());
        let jobs = mpsc::channel(1).0;
        status.attach(Live {
            timeline: TimelineId::FIRST,
            head: Arc::new(HeadKeeper::new(
                Revision(5),
                Revision::ZERO,
                Some(Revision(9)),
            )),
            spool: Weak::new(),
            member: watch::Sender::new(None).subscribe(),
            jobs: jobs.downgrade(),
            turns: Turns::new(crate::turn::UploadPolicy::Always),
            tasks: vec![("base", task)],
        });
        status
    }

    #[tokio::test]
    async fn a_task_that_ended_early_is_told_and_one_that_was_asked_to_is_not() {
        let task = tokio::spawn(std::future::pending::<()>());
        let status = attached(task.abort_handle());
        status.monitor().enter(Phase::Watching, None);
        assert_eq!(status.report().ended, [""; 0]);
        task.abort();
        let _ = task.await;
        assert_eq!(status.report().ended, ["base"]);
        status.monitor().enter(Phase::Stopping, None);
        assert_eq!(status.report().ended, [""; 0]);
    }

    #[tokio::test]
    async fn a_flush_waits_for_the_acknowledgement_and_for_nothing_else() {
        let status = attached(tokio::spawn(async {}).abort_handle());
        let head = Arc::clone(&status.live().unwrap().head);
        assert_eq!(status.flush().await.unwrap(), Revision(9));
        head.source_at(Revision(12));
        let mut flush = std::pin::pin!(status.flush());
        assert!(futures::poll!(&mut flush).is_pending());
        assert_eq!(*head.wanted().borrow(), Revision(12));
        head.segment(Revision(10), Revision(11));
        // After a hole: not durable.
        head.segment(Revision(13), Revision(14));
        assert!(futures::poll!(&mut flush).is_pending());
        head.segment(Revision(12), Revision(12));
        assert_eq!(flush.await.unwrap(), Revision(14));
    }

    #[tokio::test]
    async fn nothing_can_be_asked_before_the_vault_is_open_or_at_the_end() {
        let status = StatusHandle::new("test", HealthLimits::default());
        let early = status.flush().await.unwrap_err();
        assert_eq!(early.code(), tonic::Code::Unavailable);
        let status = attached(tokio::spawn(async {}).abort_handle());
        let late = status.snapshot().await.unwrap_err();
        assert_eq!(late.code(), tonic::Code::Unavailable);
    }
}
