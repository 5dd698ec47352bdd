//! The capture of one timeline: every task of it, from the start to the last acknowledgement.

mod ending;

use std::sync::Arc;
use std::time::Duration;

use revkeep_vault::fail_point;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::ending::{Ending, died};
use crate::AgentError;
use crate::base::Driver;
use crate::capture::batch::Batcher;
use crate::capture::{Capture, Wires};
use crate::gap::gaps;
use crate::head::Standing;
use crate::lease::Leases;
use crate::lineage::{Extent, Lineage};
use crate::open::Opened;
use crate::proof::{Basis, Proof};
use crate::remembered::remember;
use crate::run::{Route, RunOptions};
use crate::ship::{Facts, Shipper, Shipping, bounded, leftovers};
use crate::spool::{Place, Spool};
use crate::state_dir::StateDir;
use crate::status::{LastBase, Live, Phase, StatusHandle};
use crate::turn::{TurnTask, Turns, agent_id};

/// How long the last head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);

/// What a session is run with.
pub(crate) struct Session<'a> {
    pub(crate) route: &'a Route,
    pub(crate) options: &'a RunOptions,
    pub(crate) status: &'a StatusHandle,
    pub(crate) state_dir: &'a StateDir,
}

/// What the session before still has to store.
#[derive(Debug)]
struct Straggler {
    place: Place,
    yields: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

/// What earlier sessions still have to store, each in its own timeline.
#[derive(Debug, Default)]
pub(crate) struct Stragglers {
    all: Vec<Straggler>,
}

impl Stragglers {
    /// Has what is captured into the same place end, as if it were killed once all it had captured is in the spool; false where
    /// there is none. May be dropped at any time.
    pub(crate) async fn yield_to(&mut self, place: &Place) -> bool {
        let mut yielded = false;
        while let Some(at) = self.all.iter().position(|one| one.place == *place) {
            if let Some(one) = self.all.get_mut(at) {
                one.yields.cancel();
                if let Ok(Err(error)) | Err(error) =
                    (&mut one.task).await.map_err(|error| ended_by(&error))
                {
                    tracing::warn!(%error, "not everything of the session before was kept: it is captured again");
                }
            }
            self.all.swap_remove(at);
            yielded = true;
        }
        yielded
    }

    /// Waits for them; what is not stored by then is in the spool.
    pub(crate) async fn finish(self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        for Straggler { task, .. } in self.all {
            let abort = task.abort_handle();
            match tokio::time::timeout_at(deadline, task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => {
                    tracing::warn!(%error, "not everything of an earlier timeline was stored");
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "not everything of an earlier timeline was stored");
                }
                Err(_) => {
                    tracing::warn!(
                        "not everything of an earlier timeline was stored in time; the rest is in the spool"
                    );
                    abort.abort();
                }
            }
        }
    }
}

impl Session<'_> {
    /// Captures until `stop`, or until the source is another one; then flushes.
    ///
    /// # Errors
    /// [`AgentError::Lineage`] when the source is another one; what is not stored then goes up beside what is captured after it.
    #[expect(
        clippy::too_many_lines,
        reason = "the tasks of a session, each once, in the order in which they begin and end"
    )]
    pub(crate) async fn capture(
        &self,
        opened: Opened,
        spool: Arc<Spool>,
        stragglers: &mut Stragglers,
        stop: &CancellationToken,
    ) -> Result<(), AgentError> {
        let (route, options) = (self.route, self.options);
        let monitor = self.status.monitor();
        let directory = self.state_dir.path().to_path_buf();
        let extent = Extent::of(opened.cursor, &opened.beyond, &spool.names());
        let resume = extent.reach;
        opened.tell(resume);
        let mut known = opened.known.clone();
        known.reaching(&opened.target, &directory, &extent).await?;
        let lineage = Arc::new(Lineage::new(known));
        let head = opened.head().telling(Arc::clone(monitor));
        let Opened {
            target,
            previous,
            base: (base, compact),
            cursor,
            taken,
            away,
            distrusted,
            ..
        } = opened;
        if !away {
            monitor.opened(previous.as_ref().map(|base| LastBase::from(&base.facts)));
        }
        let ending = stop.child_token();
        let place = Place::of(&target);
        let head = Arc::new(head);
        let turns = Turns::new(options.upload);
        let leases = Arc::new(Leases::default());
        if let Some(base) = &previous {
            leases.learn(&base.facts.buckets);
        }
        let member = watch::Sender::new(None);
        let (queue, batches) = bounded(options.queue_bytes);
        let (jobs, incoming) = mpsc::channel(4);
        let (shipped, based) = (queue.clone(), jobs.clone());
        let yields = CancellationToken::new();
        let basis = Basis {
            base,
            durable: cursor.unwrap_or_default(),
        };
        let proof = if away {
            Proof::wanted()
        } else {
            Proof::given()
        };
        let proving = away.then(|| {
            let (proof, turns) = (Arc::clone(&proof), Arc::clone(&turns));
            let (target, head) = (target.clone(), Arc::clone(&head));
            AbortOnDropHandle::new(tokio::spawn(async move {
                if !proof.seek(&target, basis, head.monitor()).await {
                    turns.lacks();
                }
            }))
        });
        let (gaps, recorder) = gaps(target.clone(), Arc::clone(&head));
        // What serves the others ends after them.
        let done = CancellationToken::new();
        let own = self.state_dir.stays().then(|| self.state_dir.path());
        let id = agent_id(own, &route.connection.endpoints);
        let turning = TurnTask::new(
            target.clone(),
            Arc::clone(&head),
            Arc::clone(&turns),
            (id, options.limits.get().interval),
        );
        let heading = tokio::spawn(turning.run(done.clone()));
        let places = (directory.clone(), route.vault.clone(), target.clone());
        let told = (Arc::clone(&head), Arc::clone(&lineage));
        let remembering = tokio::spawn(remember(places, told, done.clone()));
        let leasing = tokio::spawn(Arc::clone(&leases).run(member.subscribe(), done.clone()));
        let recording = AbortOnDropHandle::new(tokio::spawn({
            let proof = Arc::clone(&proof);
            async move {
                if proof.holds().await {
                    recorder.run().await;
                }
            }
        }));
        let left = tokio::spawn(leftovers(directory.clone(), target.clone(), done.clone()));
        let shipping = Shipper {
            target: target.clone(),
            spool: Arc::clone(&spool),
            facts: Facts::new(
                member.subscribe(),
                Arc::clone(&leases),
                compact,
                Arc::clone(&lineage),
            ),
            head: Arc::clone(&head),
            deadline: options.upload_deadline.clone(),
            turns: Arc::clone(&turns),
            proof: Arc::clone(&proof),
            yields: yields.clone(),
        }
        .start(batches);
        let driver = Driver {
            connection: route.connection.clone(),
            target: target.clone(),
            spool: directory.clone(),
            segments: Arc::clone(&spool),
            schedule: options.schedule.clone(),
            head: Arc::clone(&head),
            gaps: gaps.clone(),
            leases: Arc::clone(&leases),
            lineage: Arc::clone(&lineage),
            prefer: options.prefer,
            turns: Arc::clone(&turns),
            proof,
            previous,
        };
        let basing = AbortOnDropHandle::new(tokio::spawn(driver.run(incoming, ending.clone())));
        let others = [
            basing.abort_handle(),
            recording.abort_handle(),
            leasing.abort_handle(),
            heading.abort_handle(),
        ];
        let tasks = tasks(&shipping, others);
        let seen = member.subscribe();
        let shared = (&head, &spool, &turns);
        self.status
            .attach(Live::new(&target, shared, seen, &jobs, tasks));
        let reach = Arc::clone(&head);
        let wires = Wires {
            connection: route.connection.clone(),
            target,
            spool: directory,
            queue,
            segments: Arc::clone(&spool),
            holes: spool.holes(),
            jobs,
            gaps,
            leases,
            head,
            lineage,
            prefer: options.prefer,
            turns: Arc::clone(&turns),
            member,
            catch_up_limit: options.catch_up_limit.clone(),
        };
        let mut capture = Capture::new(wires, Batcher::new(options.limits.clone()), resume, taken);
        if distrusted {
            tracing::warn!(
                after = resume.map(|after| after.0),
                "what was captured here is recorded as wrong, and no base has taken its place yet: one is taken now"
            );
            capture = capture.with_a_base_first();
        }
        let captured = tokio::select! {
            captured = Box::pin(capture.run(stop)) => captured,
            // Without them nothing that is captured gets anywhere. What they died of is told first, below.
            () = shipped.closed() => Err(ended_early("shipping")),
            () = based.closed() => Err(ended_early("base")),
        };
        drop((shipped, based));
        ending.cancel();
        fail_point::reached("stop.flushing");
        turns.leave();
        let goes_on = !stop.is_cancelled()
            && matches!(captured, Err(AgentError::Lineage(_) | AgentError::Reopen));
        if !goes_on {
            monitor.enter(Phase::Stopping, None);
        }
        let storing = Ending {
            shipping,
            basing,
            recording,
            proving,
            yields: yields.clone(),
        };
        let finishing = async move {
            Box::pin(capture.finish()).await;
            storing.wait().await
        };
        let ending_others = async {
            done.cancel();
            leasing.await.map_err(died("lease"))?;
            remembering.await.map_err(died("remembering"))?;
            left.await.map_err(died("spool"))?;
            // The head is a hint: where the store is away it is not waited for.
            if let Ok(ended) = tokio::time::timeout(HEAD_PATIENCE, heading).await {
                ended.map_err(died("head"))?;
            }
            Ok::<_, AgentError>(())
        };
        if goes_on {
            // The new history is captured meanwhile.
            stragglers.all.push(Straggler {
                place,
                yields,
                task: tokio::spawn(finishing),
            });
            ending_others.await?;
            return captured;
        }
        let finished = tokio::time::timeout(options.grace.get(), finishing).await;
        ending_others.await?;
        let in_time = finished.is_ok();
        if let Ok(outcome) = finished {
            outcome?;
        }
        match captured {
            // The next start finds what the source is; all that was captured before is kept.
            Err(error @ (AgentError::Lineage(_) | AgentError::Reopen)) => {
                tracing::warn!(%error, "the agent was asked to end while the source's history was in question");
            }
            captured => captured?,
        }
        conclude(&spool, self.state_dir, in_time, reach.standing())
    }
}

/// What became of all that was captured.
fn conclude(
    spool: &Spool,
    state_dir: &StateDir,
    in_time: bool,
    standing: Standing,
) -> Result<(), AgentError> {
    let hole = *spool.holes().borrow();
    // Another agent may have stored what this one could not keep.
    if let Some(hole) = hole
        && standing.durable < Some(standing.source)
    {
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
fn tasks(shipping: &Shipping, others: [AbortHandle; 4]) -> Vec<(&'static str, AbortHandle)> {
    let others = ["base", "gap", "lease", "head"].into_iter().zip(others);
    shipping.tasks().into_iter().chain(others).collect()
}

fn ended_by(error: &tokio::task::JoinError) -> AgentError {
    AgentError::Internal(format!("a session of an earlier timeline: {error}"))
}

fn ended_early(task: &str) -> AgentError {
    AgentError::Internal(format!("the {task} task has ended before it was asked to"))
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::Revision;

    use super::*;
    use crate::testing::{parting_segment, target};

    #[tokio::test]
    async fn what_another_agent_has_stored_is_not_called_lost() {
        let (target, folder) = (target().await, tempfile::tempdir().unwrap());
        let state_dir = StateDir::open(Some(folder.path())).unwrap();
        let place = Place::of(&target);
        let spool = Spool::open(folder.path(), place, 4096).await.unwrap();
        spool.file().await;
        for main in [2, 3] {
            let segment = parting_segment(&target.timeline, (main, main), main);
            spool.admit(segment).await;
        }
        assert!(spool.discards());
        let ended = |durable| {
            let standing = Standing {
                durable: Some(Revision(durable)),
                source: Revision(3),
            };
            conclude(&spool, &state_dir, true, standing)
        };
        let told = ended(2).unwrap_err().to_string();
        assert!(told.contains("after revision 2 was not kept"), "{told}");
        ended(3).unwrap();
    }
}
