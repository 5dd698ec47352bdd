//! What the log is applied to.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::Outcome;
use super::quota::Quota;
use crate::alarm::Alarms;
use crate::auth::token::Tokens;
use crate::auth::{Auth, BcryptCost};
use crate::backend::{Backend, Position};
use crate::error::Result;
use crate::lease::{Lessor, LessorOptions};
use crate::members::Members;
use crate::mvcc::{Mvcc, MvccOptions};
use crate::raft::{EntryBody, SnapshotFile, StateMachine};
use crate::snapshot;
use crate::watch::{WatchHub, WatchOptions};

/// How the applier works.
#[derive(Debug)]
pub struct ApplierOptions {
    /// How keys are kept.
    pub mvcc: MvccOptions,
    /// The folder of snapshots on their way to other members.
    pub snapshot_folder: PathBuf,
    /// How large the database may grow.
    pub quota: Quota,
    /// How logins are proved.
    pub tokens: Tokens,
    /// What a password costs.
    pub bcrypt_cost: BcryptCost,
    /// How leases end.
    pub lessor: LessorOptions,
    /// How watching works.
    pub watch: WatchOptions,
}

/// The parts of the state, as the rest of the server sees them. All of them may be read at any time.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The state on the disk.
    pub backend: Arc<Backend>,
    /// Keys and their history.
    pub mvcc: Arc<Mvcc>,
    /// Users, roles and tokens.
    pub auth: Arc<Auth>,
    /// Raised alarms.
    pub alarms: Arc<Alarms>,
    /// The cluster's members and version.
    pub members: Arc<Members>,
    /// The leases' time.
    pub lessor: Arc<Lessor>,
    /// The watchers.
    pub watchers: Arc<WatchHub>,
}

/// Applies the log. Only one entry at a time; everything in [`Shared`] may be read beside it.
#[derive(Debug)]
pub struct Applier {
    pub(super) shared: Shared,
    pub(super) quota: Quota,
    snapshot_folder: PathBuf,
    applied: watch::Sender<u64>,
}

impl Applier {
    /// Opens the state that `backend` holds.
    ///
    /// # Errors
    /// State that cannot be read.
    pub fn open(backend: Arc<Backend>, options: ApplierOptions) -> Result<Self> {
        let applied = watch::Sender::new(backend.position().index);
        let mvcc = Mvcc::open(Arc::clone(&backend), options.mvcc)?;
        let auth = Auth::open(
            Arc::clone(&backend),
            options.tokens,
            options.bcrypt_cost,
            options.watch.executor,
            applied.subscribe(),
        )?;
        let shared = Shared {
            auth: Arc::new(auth),
            alarms: Arc::new(Alarms::open(Arc::clone(&backend))?),
            members: Arc::new(Members::open(Arc::clone(&backend))?),
            lessor: Arc::new(Lessor::new(Arc::clone(&mvcc) as _, options.lessor)),
            watchers: WatchHub::new(Arc::clone(&mvcc) as _, options.watch),
            backend,
            mvcc,
        };
        Ok(Self {
            shared,
            quota: options.quota,
            snapshot_folder: options.snapshot_folder,
            applied,
        })
    }

    /// The parts that others read.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The bound on the database's size.
    pub fn quota(&self) -> Quota {
        self.quota
    }
}

impl StateMachine for Applier {
    type Outcome = Outcome;

    fn position(&self) -> Position {
        self.shared.backend.position()
    }

    fn durable(&self) -> Position {
        self.shared.backend.durable()
    }

    fn raft_state(&self) -> Option<Bytes> {
        self.shared.backend.raft_state()
    }

    fn apply(&self, at: Position, body: EntryBody<'_>) -> Result<Vec<Outcome>> {
        let shared = &self.shared;
        if at.index <= shared.backend.position().index {
            return Ok(Vec::new());
        }
        let mut outcomes = Vec::new();
        let mut raft_state = None;
        match body {
            EntryBody::Commands(proposals) => {
                outcomes = self.commands(at, proposals)?;
            }
            EntryBody::Membership {
                raft_bytes,
                members,
            } => {
                raft_state = Some(raft_bytes.clone());
                shared.members.set_peers(members);
            }
            EntryBody::Blank => {}
        }
        shared.backend.set_position(at, raft_state);
        // Before the answers: who asks how far the watchers are after an answer has come must not be told less.
        shared.watchers.publish(shared.mvcc.take_events());
        self.applied.send_replace(at.index);
        Ok(outcomes)
    }

    fn flush(&self) -> Result<Position> {
        self.shared.mvcc.flush()
    }

    fn snapshot(&self) -> Result<SnapshotFile> {
        let view = self.shared.backend.view();
        Ok(SnapshotFile {
            position: view.position(),
            raft_bytes: view.raft_state(),
            path: snapshot::export_into(&view, &self.snapshot_folder)?,
        })
    }

    fn install(&self, file: &SnapshotFile) -> Result<()> {
        let shared = &self.shared;
        let at = (file.position, file.raft_bytes.clone());
        shared.mvcc.install(&file.path, Some(at))?;
        shared.auth.reload()?;
        shared.alarms.reload()?;
        shared.members.reload()?;
        shared.watchers.resync();
        self.applied.send_replace(shared.backend.position().index);
        Ok(())
    }

    fn is_started(&self, member: u64) -> bool {
        let member = self.shared.members.get(member);
        member.is_some_and(|member| !member.client_urls.is_empty())
    }

    fn is_removed(&self, member: u64) -> bool {
        self.shared.members.is_removed(member)
    }
}
