//! Starting a member.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use openraft::{Config, SnapshotPolicy, entry::RaftEntry as _};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::{Mutex, mpsc, watch};

use super::{
    Dial, Leadership, PeerMember, PeerNode, RaftConfig, RaftHandle, StateMachine,
    applier::Applier,
    contact::Contact,
    core::Core,
    housekeeping,
    log::LogStore,
    peer::{Links, Network, RECEIVED},
    proposer, reads,
    stop::Stopper,
    types::{Entry, LogId, Membership, Raft},
    waiters::Waiters,
    watchdog,
    wire::Applied,
};
use crate::{Result, StoreError, backend::Disk, executor::Executor};

/// Entries in one message, at most; [`super::log::Reader`] bounds their bytes.
const MESSAGE_ENTRIES: u64 = 512;

/// What a member needs of the world.
#[derive(Clone, Debug)]
pub struct RaftEnvironment {
    /// Where the log is.
    pub disk: Arc<dyn Disk>,
    /// How other members are reached.
    pub dial: Arc<dyn Dial>,
    /// Where blocking work runs.
    pub executor: Executor,
}

impl<O: Send + 'static> RaftHandle<O> {
    /// Starts a member. When this returns it has applied what it knew to be agreed on before it stopped.
    ///
    /// `founders` are the members of a new cluster, this one among them, the same on each of them; they are used only
    /// by a member that has no log yet. A member that joins a cluster is given none: it was added to the cluster
    /// before, and the leader will find it.
    ///
    /// Fails when a file is damaged or another member's, or the disk fails.
    pub async fn start(
        config: RaftConfig,
        founders: &[PeerMember],
        machine: Arc<dyn StateMachine<Outcome = O>>,
        environment: RaftEnvironment,
    ) -> Result<Self> {
        let RaftEnvironment {
            disk,
            dial,
            executor,
        } = environment;
        prepare_scratch(&config.scratch)?;
        let stopper = Stopper::new();
        let waiters = Arc::new(Waiters::default());
        let state = Applied::decode(machine.raft_state().as_ref())?;
        let members = Arc::new(watch::Sender::new(Arc::new(state)));
        let applied = Arc::new(watch::Sender::new(machine.position().index));
        let durable = Arc::new(watch::Sender::new(machine.durable()));
        let founding = founding(founders);
        let log = LogStore::open(
            &*disk,
            (config.cluster_id, config.member_id),
            executor,
            founding,
            machine.position(),
            durable.subscribe(),
            stopper.clone(),
        )?;
        let (marks, synced) = (log.marks(), log.synced());
        let links = Arc::new(Links::new(&config, dial));
        let network = Network {
            links: Arc::clone(&links),
            snapshots: {
                let machine = Arc::clone(&machine);
                Arc::new(move || machine.snapshot())
            },
            synced: Arc::clone(&synced),
            stopper: stopper.clone(),
            executor,
        };
        let feeder = Applier {
            member_id: config.member_id,
            grace: config.election,
            machine: Arc::clone(&machine),
            waiters: Arc::clone(&waiters),
            members: Arc::clone(&members),
            applied: Arc::clone(&applied),
            durable: Arc::clone(&durable),
            synced,
            stopper: stopper.clone(),
            executor,
        };
        let library = Arc::new(library_config(&config)?);
        let raft = Raft::new(config.member_id, library, network, log, feeder)
            .await
            .map_err(|error| start_failed(&stopper, error))?;

        let (items, waiting_items) = mpsc::channel(proposer::QUEUE);
        let (reads, waiting_reads) = mpsc::channel(reads::QUEUE);
        let first_id = first_id(&config);
        let flush_interval = config.flush_interval;
        let core = Arc::new(Core {
            config,
            machine,
            executor,
            raft,
            marks,
            links,
            contact: Contact::new(),
            waiters,
            members,
            applied,
            leadership: watch::Sender::new(Leadership::default()),
            stopper,
            items,
            queued_bytes: AtomicU64::new(0),
            reads,
            next_id: AtomicU64::new(first_id),
            duties: OnceLock::new(),
            reconfiguring: Mutex::new(()),
            handing_over: AtomicBool::new(false),
            elected_at: parking_lot::Mutex::new(None),
            leader_changes: AtomicU64::new(0),
            failed_proposals: AtomicU64::new(0),
        });
        tokio::spawn(end_with(Arc::clone(&core)));
        tokio::spawn(proposer::run(Arc::clone(&core), waiting_items));
        tokio::spawn(reads::run(Arc::clone(&core), waiting_reads));
        tokio::spawn(watchdog::run(Arc::clone(&core)));
        tokio::spawn(housekeeping::purge(Arc::clone(&core)));
        if let Some(interval) = flush_interval {
            tokio::spawn(housekeeping::flush(Arc::clone(&core), durable, interval));
        }
        Ok(Self { core })
    }
}

/// Ends the library's part once there is a reason to stop.
async fn end_with<O: Send + 'static>(core: Arc<Core<O>>) {
    core.stopper.stopped().await;
    // It reports only that its task was aborted.
    let _ = core.raft.shutdown().await;
}

/// Why the library did not start: what the disk said, if it was that.
fn start_failed(stopper: &Stopper, error: openraft::error::Fatal<u64>) -> StoreError {
    match stopper.reason() {
        Some(super::StopReason::Failed(error)) => error,
        _ => StoreError::internal_from("start consensus", error),
    }
}

/// The library's settings. Elections are ours, so its own are off; its lease is shorter than ours, which the service
/// for peers keeps.
fn library_config(config: &RaftConfig) -> Result<Config> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let election = millis(config.election).max(10);
    // Also the limit of an append with its sync on a follower, so not as short as a heartbeat may be.
    let heartbeat = millis(config.heartbeat)
        .max(election / 4)
        .min(election / 2 - 1);
    let library = Config {
        cluster_name: format!("{:x}", config.cluster_id),
        heartbeat_interval: heartbeat,
        election_timeout_min: election / 2,
        election_timeout_max: election / 2 + 1,
        max_payload_entries: MESSAGE_ENTRIES,
        // A follower is never given up because it is behind: only when the entries it needs are gone.
        replication_lag_threshold: u64::MAX,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_elect: false,
        ..Config::default()
    };
    library
        .validate()
        .map_err(|error| StoreError::Config(format!("heartbeat and election: {error}")))
}

/// The first entry of a new cluster: its members. The same on each of them, so none has to be the first to speak.
fn founding(founders: &[PeerMember]) -> Option<Entry> {
    if founders.is_empty() {
        return None;
    }
    let nodes: BTreeMap<u64, PeerNode> = founders.iter().map(PeerNode::of).collect();
    let voters: BTreeSet<u64> = founders
        .iter()
        .filter(|founder| !founder.learner)
        .map(|founder| founder.id)
        .collect();
    let membership = Membership::new(vec![voters], nodes);
    Some(Entry::new_membership(LogId::default(), membership))
}

/// Ids of commands: the member in the upper 16 bits, so that members never meet; below, a random beginning, so that
/// what this member proposed before it restarted is not taken for what it proposes now.
fn first_id(config: &RaftConfig) -> u64 {
    let mut random = StdRng::seed_from_u64(config.seed ^ 0x1d5);
    (config.member_id << 48) | (random.random::<u64>() >> 17)
}

/// Makes the folder for snapshots, and removes what a kill has left there.
fn prepare_scratch(folder: &Path) -> Result<()> {
    let failed = |action: &str, path: &Path, error| {
        StoreError::disk(format!("{action} {}", path.display()), error)
    };
    fs::create_dir_all(folder).map_err(|error| failed("create", folder, error))?;
    let entries = fs::read_dir(folder).map_err(|error| failed("list", folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", folder, error))?;
        if entry.file_name().to_string_lossy().starts_with(RECEIVED) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
        }
    }
    Ok(())
}
