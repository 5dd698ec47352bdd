//! Before a watch: whether the source is the one that was captured, and a base where one is needed.

use revkeep_schemas::Revision;
use revkeep_vault::fail_point;

use super::Capture;
use super::following::{Expected, Following};
use super::joiner::Joiner;
use crate::AgentError;
use crate::base::{Job, Position, Taken, take};
use crate::lineage::{Judged, Known, RaftMark, Verdict, judge, settle};
use crate::source::Member;
use crate::spool::{Hole, Range};
use crate::status::Phase;

impl Capture {
    /// Connects, takes a base first where that is needed, and watches from there on.
    pub(super) async fn prepare(&mut self) -> Result<Following, AgentError> {
        let endpoint = self.next_endpoint()?;
        let connection = &self.wires.connection;
        let (member, _) = Member::connect(connection, &endpoint).await?;
        let known = self.wires.lineage.known();
        let (verdict, mark, identity) = settle(connection, &member, &known).await?;
        if let Verdict::Other(reason) = verdict {
            return Err(AgentError::Lineage(reason));
        }
        self.wires.lineage.seen(mark);
        let current = mark.revision;
        self.wires.head.source_at(current);
        if let Some(last) = self.last
            && current.0.saturating_sub(last.0) > self.wires.catch_up_limit.get()
        {
            self.state.needs_base = true;
            if self.hole().is_none() {
                tracing::info!(%last, %current, "far behind: a base is taken instead of a long watch");
            }
        }
        if self.last.is_none() && self.state.ready.is_none() && !self.wires.turns.first_base().await
        {
            tracing::info!("another agent has taken the first base");
            return Err(AgentError::Reopen);
        }
        let hole = self.hole();
        match hole {
            Some(hole) if hole.open => {
                self.last = Some(hole.kept);
                self.state.lost = None;
                self.state.needs_base = true;
            }
            // Nothing is kept until then, so nothing is gained by a base or by what the source sent before now.
            Some(_) if self.state.needs_base => {
                self.last = self.last.max(Some(current));
                self.state.needs_base = false;
                self.state.faltered_at = None;
            }
            _ => {}
        }
        let last = match self.last {
            Some(last) if !self.state.needs_base => last,
            _ => self.rebase(&member, hole).await?,
        };
        let digest = self.wires.lineage.known().trail.digest_of(last);
        let expected = Expected::new(last, digest);
        let joiner = Joiner::new(expected.revision().map_or(last, Revision::previous));
        let watch = member.watch_all(joiner.last().next()).await?;
        tracing::info!(endpoint, version = identity.version, after = %last, "watching");
        Ok(Following {
            member,
            watch,
            joiner,
            expected,
            history: current,
            begun: false,
        })
    }

    /// Takes a snapshot; the base is written beside capture, which goes on after the snapshot's revision.
    async fn rebase(
        &mut self,
        member: &Member,
        hole: Option<Hole>,
    ) -> Result<Revision, AgentError> {
        // First what may wait for the vault, so that the source does not compact between the snapshot and the next watch.
        self.hand_over().await;
        let (taken, judged) = Box::pin(self.snapshot(member)).await?;
        let Position {
            revision,
            compact_revision,
            ..
        } = taken.position;
        if let Some(last) = self.last
            && revision < last
        {
            return Err(AgentError::Snapshot {
                endpoint: taken.endpoint,
                reason: format!(
                    "it stands at {revision}, and {last} was captured: the member lags behind"
                ),
            });
        }
        if let Some(wrong) = judged.wrong {
            let (first, last) = (wrong.after.next(), wrong.to);
            let pending = self.pending((first, last));
            let told = self
                .wires
                .gaps
                .wrong((first, last), compact_revision, pending);
            told.await;
        }
        self.lost_below(compact_revision).await;
        let job = Job {
            taken: Some(taken),
            heals: self.last.map(|last| last.next().max(compact_revision)),
            reply: None,
        };
        if self.wires.jobs.send(job).await.is_err() {
            return Err(AgentError::Internal("the base task has ended".to_owned()));
        }
        fail_point::reached("snapshot.handed-over");
        if let Some(hole) = hole.filter(|hole| hole.open) {
            self.state.healed = hole.number;
            self.wires.queue.healed(hole.number);
        }
        let lineage = &self.wires.lineage;
        lineage.seen(RaftMark {
            surplus: judged.end.surplus,
            ..RaftMark::default()
        });
        lineage.rebased(revision, judged.end.last, judged.end.tip);
        self.last = Some(revision);
        self.state.lost = None;
        self.state.needs_base = false;
        self.state.faltered_at = None;
        Ok(revision)
    }

    /// The first revision of what is captured and not stored yet in segments that hold any of a range; of what is being
    /// sealed just now, at most that.
    fn pending(&self, (first, last): Range) -> Option<Revision> {
        let names = self.wires.segments.names();
        let holding = names
            .iter()
            .filter(|name| name.first <= last && name.last >= first);
        let filed = holding.map(|name| name.first).min();
        let (durable, beyond) = self.wires.head.held().unwrap_or_default();
        let ends = names
            .iter()
            .map(|name| name.last)
            .chain(beyond.iter().map(|range| range.1));
        let sealing = ends.fold(durable, Ord::max).next();
        [filed, (sealing <= last).then_some(sealing)]
            .into_iter()
            .flatten()
            .min()
    }

    /// A snapshot that continues what was captured: the one that is there already, or one of the member, or of another one
    /// where that is preferred.
    async fn snapshot(&mut self, member: &Member) -> Result<(Taken, Judged), AgentError> {
        let (taken, raft) = if let Some(taken) = self.state.ready.take() {
            // It was compared when it was taken, and the source's log has gone on since.
            (taken, RaftMark::default())
        } else {
            let before = self.wires.lineage.known().raft;
            let monitor = self.wires.head.monitor();
            monitor.enter(Phase::Snapshotting, None);
            let preferred = self
                .wires
                .prefer
                .member(&self.wires.connection, member)
                .await;
            let taken = take(preferred.as_ref().unwrap_or(member), &self.wires.spool).await?;
            monitor.snapshot(&taken);
            (taken, before)
        };
        let known = Known {
            raft,
            ..self.wires.lineage.known()
        };
        let timeline = self.last.map(|_| &self.wires.target.timeline);
        let source = (&self.wires.connection, member);
        let judged = judge(&taken, &known, timeline, source).await?;
        Ok((taken, judged))
    }

    /// The source is compacted at `compact`: tells what is lost by that and was not told yet; see [`crate::gap`].
    pub(super) async fn lost_below(&mut self, compact: Revision) {
        let Some(last) = self.last else { return };
        let first = self.state.lost.unwrap_or(last).max(last).next();
        if first < compact {
            self.wires.gaps.lost(first, compact.previous()).await;
            self.state.lost = Some(compact.previous());
        }
    }
}
