//! The state machine as the consensus library drives it.

use std::{sync::Arc, time::Duration};

use openraft::{
    AnyError, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageIOError,
    storage::RaftStateMachine,
};
use revkeep_schemas::store_api::Proposal;
use tokio::{sync::watch, time::sleep};

use super::{
    EntryBody, StateMachine, StopReason,
    log::Synced,
    stop::Stopper,
    types::{
        Body, Entry, LogId, Membership, SnapshotData, StorageError, StoredMembership, Types,
        log_id, position, position_or_origin,
    },
    waiters::Waiters,
    wire::{self, Applied},
};
use crate::{Result, StoreError, backend::Position, executor::Executor};

/// Feeds the state machine, and answers those who wait.
pub(super) struct Applier<O: Send + 'static> {
    pub(super) member_id: u64,
    /// How long a member that was removed still takes part.
    pub(super) grace: Duration,
    pub(super) machine: Arc<dyn StateMachine<Outcome = O>>,
    pub(super) waiters: Arc<Waiters<O>>,
    /// The members as of the last entry applied; the service for peers reads it.
    pub(super) members: Arc<watch::Sender<Arc<Applied>>>,
    pub(super) applied: Arc<watch::Sender<u64>>,
    pub(super) durable: Arc<watch::Sender<Position>>,
    pub(super) synced: Arc<Synced>,
    pub(super) stopper: Stopper,
    pub(super) executor: Executor,
}

impl<O: Send + 'static> Applier<O> {
    fn apply_one(&self, entry: &Entry) -> Result<()> {
        let at = position(&entry.id);
        match &entry.body {
            Body::Blank => {
                self.machine.apply(at, EntryBody::Blank)?;
            }
            Body::Membership(membership) => self.apply_membership(entry.id, membership)?,
            Body::Commands(commands) => {
                let commands = commands.decode().map_err(|error| {
                    StoreError::damaged(format!("log entry {at}"), error.to_string())
                })?;
                self.apply_commands(at, &commands)?;
            }
        }
        self.applied.send_replace(at.index);
        Ok(())
    }

    fn apply_commands(&self, at: Position, commands: &[Proposal]) -> Result<()> {
        let outcomes = self.machine.apply(at, EntryBody::Commands(commands))?;
        if !outcomes.is_empty() {
            self.waiters.answer(commands, outcomes);
        }
        Ok(())
    }

    fn apply_membership(&self, id: LogId, membership: &Membership) -> Result<()> {
        let before = Arc::clone(&self.members.borrow());
        if before.stored.log_id().as_ref() >= Some(&id) {
            return Ok(());
        }
        let next = before.followed_by(id, membership.clone());
        let body = EntryBody::Membership {
            raft_bytes: &next.encode(),
            members: &wire::members(membership),
        };
        self.machine.apply(position(&id), body)?;
        self.take_members(next);
        Ok(())
    }

    /// The members have changed. A member that was one and is none any more must stop.
    fn take_members(&self, next: Applied) {
        let is_removed = next.removed.contains(&self.member_id);
        self.members.send_replace(Arc::new(next));
        if is_removed {
            // A leader that goes still answers, and tells the others that it is agreed on.
            let (stopper, grace) = (self.stopper.clone(), self.grace);
            tokio::spawn(async move {
                sleep(grace).await;
                stopper.stop(StopReason::Removed);
            });
        }
    }

    fn meta(&self, at: Position) -> SnapshotMeta<u64, super::PeerNode> {
        SnapshotMeta {
            last_log_id: log_id(at),
            last_membership: self.members.borrow().stored.clone(),
            snapshot_id: at.to_string(),
        }
    }

    async fn receive(&self, data: SnapshotData) -> Result<()> {
        let SnapshotData::Received(file) = data else {
            return Err(StoreError::internal(
                "only a received snapshot can be installed",
            ));
        };
        let machine = Arc::clone(&self.machine);
        let installed = self.executor.run(move || {
            let applied = Applied::decode(file.raft_bytes.as_ref())?;
            machine.install(&file)?;
            Ok((file.position, applied))
        });
        let (at, applied) = installed.await??;
        self.take_members(applied);
        self.durable.send_replace(at);
        self.applied.send_replace(at.index);
        Ok(())
    }

    fn fail(&self, error: &StoreError) -> StorageIOError<u64> {
        self.stopper.fail(error.clone());
        StorageIOError::write_state_machine(AnyError::new(error))
    }
}

impl<O: Send + 'static> RaftStateMachine<Types> for Applier<O> {
    type SnapshotBuilder = Builder<O>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let at = self.machine.position();
        Ok((log_id(at), self.members.borrow().stored.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut done = Vec::new();
        for entry in entries {
            // The library counts this member in for what it has only begun to write.
            let synced = self.synced.reached(position(&entry.id).index).await;
            synced
                .and_then(|()| self.apply_one(&entry))
                .map_err(|error| self.fail(&error))?;
            done.push(());
            // Others on this thread get their turn between two entries.
            tokio::task::consume_budget().await;
        }
        Ok(done)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<O> {
        Builder {
            machine: Arc::clone(&self.machine),
            members: Arc::clone(&self.members),
            durable: Arc::clone(&self.durable),
            stopper: self.stopper.clone(),
            executor: self.executor,
        }
    }

    /// Never called: snapshots are received into files by the service for peers.
    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        Ok(Box::new(SnapshotData::OnDemand))
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<u64, super::PeerNode>,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError> {
        let received = self.receive(*snapshot).await;
        received.map_err(|error| self.fail(&error).into())
    }

    /// What could be sent now. Nothing is written: the file is made when a follower needs it.
    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let at = self.machine.position();
        if at == Position::default() {
            return Ok(None);
        }
        Ok(Some(Snapshot {
            meta: self.meta(at),
            snapshot: Box::new(SnapshotData::OnDemand),
        }))
    }
}

/// "Building a snapshot" here means a flush: entries up to it may then leave the log.
pub(super) struct Builder<O: Send + 'static> {
    machine: Arc<dyn StateMachine<Outcome = O>>,
    members: Arc<watch::Sender<Arc<Applied>>>,
    durable: Arc<watch::Sender<Position>>,
    stopper: Stopper,
    executor: Executor,
}

impl<O: Send + 'static> RaftSnapshotBuilder<Types> for Builder<O> {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let members = self.members.borrow().stored.clone();
        let machine = Arc::clone(&self.machine);
        let flushed = self.executor.run(move || machine.flush()).await;
        let at = flushed.and_then(|flushed| flushed).map_err(|error| {
            self.stopper.fail(error.clone());
            StorageIOError::write_snapshot(None, AnyError::new(&error))
        })?;
        self.durable.send_replace(at);
        // Members of an entry after the flush would not be part of what was flushed.
        let membership = if position_or_origin(members.log_id().as_ref()) <= at {
            members
        } else {
            let state = Applied::decode(self.machine.raft_state().as_ref());
            state.map(|applied| applied.stored).unwrap_or_default()
        };
        Ok(Snapshot {
            meta: SnapshotMeta {
                last_log_id: log_id(at),
                last_membership: membership,
                snapshot_id: at.to_string(),
            },
            snapshot: Box::new(SnapshotData::OnDemand),
        })
    }
}
