//! Putting a member together.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use revkeep_schemas::store_api::proposal::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Environment, Node};
use crate::apply::quota::Quota;
use crate::apply::{Applier, ApplierOptions, Outcome, Propose, Response};
use crate::auth::BcryptCost;
use crate::auth::token::{TokenOptions, Tokens};
use crate::backend::{Backend, BackendOptions, Disk, FileDisk, Position};
use crate::error::{Result, StoreError};
use crate::http::{Front, Metrics};
use crate::lease::LessorOptions;
use crate::mvcc::{CompactionMode, MvccOptions};
use crate::raft::{
    Dial, PeerMember, RaftConfig, RaftEnvironment, RaftHandle, StateMachine as _, TcpDial,
};
use crate::rpc::{Calls, Engine, EngineOptions, Grpc};
use crate::server::counted::Counted;
use crate::server::data::{DataFolder, Identity, Seed};
use crate::server::founding::found;
use crate::server::listen::{ConnectionOptions, Port, bind, serve};
use crate::server::timed_disk::TimedDisk;
use crate::server::tls::{TlsDial, acceptor};
use crate::server::{
    Config, InitialCluster, Listen, Operations, ServerUrl, SyncTimes, TlsFiles, duty,
};
use crate::watch::WatchOptions;
use crate::{executor::Executor, snapshot};

/// What an answer to a watcher may have beyond `--max-request-bytes` before it is cut (etcd, `grpcOverheadBytes`).
const OVERHEAD_BYTES: usize = 512 * 1024;

impl Node {
    /// Starts a member. When this returns it listens, and has applied what it knew to be agreed on before. It serves its
    /// peers and the metrics at once, its clients once it is [ready](Node::ready); they may connect before and wait.
    ///
    /// # Errors
    /// [`StoreError::Config`] for settings that cannot be, [`StoreError::Damaged`] for files that cannot be trusted,
    /// [`StoreError::Disk`] when the disk fails.
    pub async fn start(mut config: Config, environment: Environment) -> Result<Self> {
        let ports = Ports::bind(&mut config, environment.listen.as_deref()).await?;
        Box::pin(Self::start_on(ports, config, environment)).await
    }

    /// The same on ports that are taken already.
    pub(super) async fn start_on(
        ports: Ports,
        config: Config,
        environment: Environment,
    ) -> Result<Self> {
        config.check()?;
        let dial = match &environment.dial {
            Some(dial) => Arc::clone(dial),
            None => dial_of(config.peer_tls.as_ref())?,
        };
        let executor = environment.executor;
        let folder = DataFolder::open(&config.data_dir)?;
        let identity = begin(&config, &folder, &dial, executor).await?;
        let founders: Vec<PeerMember> = identity.founders.iter().map(PeerMember::from).collect();
        let scratch = folder.prepare_scratch()?;
        let disk: Arc<dyn Disk> = match environment.disk {
            Some(disk) => disk,
            None => Arc::new(file_disk(&folder.member())?),
        };
        let times = SyncTimes::default();
        let disk: Arc<dyn Disk> = Arc::new(TimedDisk::new(disk, times.clone()));

        let applier = {
            let (config, disk, scratch) = (config.clone(), Arc::clone(&disk), scratch.clone());
            let seed = environment.seed;
            let open = move || open_state(&config, disk, scratch, executor, seed);
            Arc::new(executor.run(open).await??)
        };
        let shared = applier.shared().clone();
        let operations = Arc::<Operations>::default();
        let counted = Counted {
            applier: Arc::clone(&applier),
            operations: Arc::clone(&operations),
        };
        let raft = RaftHandle::start(
            raft_config(&config, &identity, scratch.clone(), environment.seed),
            &founders,
            Arc::new(counted),
            RaftEnvironment {
                disk,
                dial,
                executor,
            },
        )
        .await?;
        raft.set_duties(Arc::clone(&shared.lessor) as _);
        tracing::info!(
            name = config.name,
            member = format_args!("{:x}", identity.member_id),
            cluster = format_args!("{:x}", identity.cluster_id),
            position = %applier.position(),
            "started"
        );

        let options = EngineOptions {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
            max_request_bytes: config.max_request_bytes,
            max_txn_ops: config.max_txn_ops,
            quota: Quota::new(config.quota_backend_bytes),
            request_timeout: config.request_timeout(),
            election_timeout: config.election_timeout,
            scratch,
            executor,
            clock: environment.clock.unwrap_or(SystemTime::now),
        };
        let engine = Engine::new(options, shared, raft.clone());
        let stop = CancellationToken::new();
        let (published, ready) = watch::channel(false);
        let listeners = ports
            .serve(
                &config,
                &engine,
                &raft,
                (times, operations),
                (&ready, &stop),
            )
            .await?;
        let mut duties = JoinSet::new();
        duties.spawn(duty::lead(Arc::clone(&engine)));
        duties.spawn(duty::publish(
            Arc::clone(&engine),
            config.name.clone(),
            config.advertise_client_urls.clone(),
            published,
        ));
        duties.spawn(duty::compact(Arc::clone(&engine), config.clone()));
        let leases = Arc::clone(&engine);
        duties.spawn(async move {
            let lessor = Arc::clone(&leases.shared().lessor);
            // The engine holds the lessor already.
            let proposer: Arc<dyn Propose> = Arc::new(Internal(Arc::downgrade(&leases)));
            drop(leases);
            lessor.run(proposer).await;
        });
        Ok(Self {
            stopped: raft.stopped(),
            ready,
            engine,
            raft,
            client_urls: config.listen_client_urls,
            peer_urls: config.listen_peer_urls,
            stop: stop.drop_guard(),
            listeners,
            duties,
        })
    }
}

/// What the lessor proposes through, without keeping the member alive.
struct Internal(Weak<Engine>);

#[async_trait::async_trait]
impl Propose for Internal {
    async fn propose(&self, command: Command) -> Result<Response> {
        let engine = self.0.upgrade().ok_or(StoreError::Stopped)?;
        Propose::propose(&*engine, command).await
    }
}

/// The ports that a member has taken, before anything else: whoever cannot be reached need not begin.
pub(super) struct Ports {
    clients: Vec<Port>,
    peers: Vec<Port>,
    metrics: Vec<Port>,
}

impl Ports {
    pub(super) async fn bind(config: &mut Config, network: Option<&dyn Listen>) -> Result<Self> {
        let client_tls = config.client_tls.as_ref().map(acceptor).transpose()?;
        let peer_tls = config.peer_tls.as_ref().map(acceptor).transpose()?;
        let mut ports = Self {
            clients: Vec::new(),
            peers: Vec::new(),
            metrics: Vec::new(),
        };
        for url in &config.listen_client_urls {
            ports
                .clients
                .push(bind(url, client_tls.as_ref(), network).await?);
        }
        for url in &config.listen_peer_urls {
            ports
                .peers
                .push(bind(url, peer_tls.as_ref(), network).await?);
        }
        for url in &config.listen_metrics_urls {
            ports
                .metrics
                .push(bind(url, client_tls.as_ref(), network).await?);
        }
        let found = |ports: &[Port]| ports.iter().map(|port| port.url.clone()).collect();
        let clients: Vec<ServerUrl> = found(&ports.clients);
        let peers: Vec<ServerUrl> = found(&ports.peers);
        // Where the settings left the port open, what is told must follow what was found.
        if config.advertise_client_urls == config.listen_client_urls {
            config.advertise_client_urls.clone_from(&clients);
        }
        if config.initial_advertise_peer_urls == config.listen_peer_urls
            && config.listen_peer_urls.iter().any(|url| url.port() == 0)
        {
            config.initial_advertise_peer_urls.clone_from(&peers);
            config.initial_cluster = InitialCluster::alone(&config.name, &peers);
        }
        config.listen_client_urls = clients;
        config.listen_peer_urls = peers;
        Ok(ports)
    }

    async fn serve(
        self,
        config: &Config,
        engine: &Arc<Engine>,
        raft: &RaftHandle<Outcome>,
        (times, operations): (SyncTimes, Arc<Operations>),
        (ready, stop): (&watch::Receiver<bool>, &CancellationToken),
    ) -> Result<JoinSet<()>> {
        let calls = Calls::new()?;
        let metrics = Arc::new(Metrics::new(engine, calls.clone(), times, operations));
        let (grpc, health) = Grpc::new(engine, calls)?;
        health
            .set_service_status("", tonic_health::ServingStatus::Serving)
            .await;
        let front = Front::new(engine, grpc, metrics)?;
        let mut listeners = JoinSet::new();
        let (interval, patience) = (config.keepalive_interval, config.keepalive_timeout);
        let of_clients = ConnectionOptions {
            gathers: true,
            keep_alive: (!interval.is_zero() && !patience.is_zero())
                .then_some((interval, patience)),
            ..connection_options(config, config.client_tls.as_ref())
        };
        for port in self.metrics {
            tracing::info!(url = %port.url, "serving metrics");
            let (options, front, stop) = (of_clients.clone(), front.probed(), stop.clone());
            listeners.spawn(serve(port, options, front, stop));
        }
        for port in self.clients {
            let (options, front, stop) = (of_clients.clone(), front.clone(), stop.clone());
            let mut ready = ready.clone();
            listeners.spawn(async move {
                let is_ready = tokio::select! {
                    biased;
                    () = stop.cancelled() => false,
                    ready = ready.wait_for(|ready| *ready) => ready.is_ok(),
                };
                if is_ready {
                    tracing::info!(url = %port.url, "serving clients");
                    serve(port, options, front, stop).await;
                }
            });
        }
        let of_peers = connection_options(config, config.peer_tls.as_ref());
        let service = tonic::service::Routes::new(raft.peer_service()).prepare();
        for port in self.peers {
            tracing::info!(url = %port.url, "serving peers");
            let (options, service, stop) = (of_peers.clone(), service.clone(), stop.clone());
            listeners.spawn(serve(port, options, service, stop));
        }
        Ok(listeners)
    }
}

fn connection_options(config: &Config, tls: Option<&TlsFiles>) -> ConnectionOptions {
    ConnectionOptions {
        max_concurrent_streams: config.max_concurrent_streams,
        certificate_names_user: tls.is_some_and(|tls| tls.client_cert_auth),
        allowed_names: tls.map_or_else(Arc::default, |tls| tls.allowed_names.clone().into()),
        // Members ask each other as clients.
        keep_alive: None,
        gathers: false,
    }
}

fn dial_of(tls: Option<&TlsFiles>) -> Result<Arc<dyn Dial>> {
    Ok(match tls {
        Some(files) => Arc::new(TlsDial::new(files)?),
        None => Arc::new(TcpDial),
    })
}

fn file_disk(path: &Path) -> Result<FileDisk> {
    FileDisk::open(path).map_err(|error| {
        StoreError::disk(format!("cannot open {}: {error}", path.display()), error)
    })
}

/// Who the member is. At its first start that is decided, and what a restore left becomes its state.
async fn begin(
    config: &Config,
    folder: &DataFolder,
    dial: &Arc<dyn Dial>,
    executor: Executor,
) -> Result<Identity> {
    if let Some(identity) = folder.identity()? {
        // A kill between the birth and the removal has left what was taken in already.
        folder.remove_seed()?;
        return Ok(identity);
    }
    let seed = folder.seed()?;
    let identity = found(config, seed.as_ref(), dial).await?;
    let (folder, born) = (folder.clone(), identity.clone());
    executor
        .run(move || {
            folder.give_birth(&born, |unborn| match &seed {
                Some(seed) => import(seed, unborn),
                None => Ok(()),
            })?;
            folder.remove_seed()
        })
        .await??;
    Ok(identity)
}

/// Makes the state of a new member from what a restore left.
fn import(seed: &Seed, into: &Path) -> Result<()> {
    let path = seed.file();
    tracing::info!(file = %path.display(), "beginning with restored data");
    let disk = Arc::new(file_disk(into)?);
    let backend = Backend::open(disk, BackendOptions::default())?;
    // The log of a new cluster begins at its beginning, whatever log the data came from.
    snapshot::import(&backend, &path, Some((Position::default(), None)))
}

fn open_state(
    config: &Config,
    disk: Arc<dyn Disk>,
    scratch: PathBuf,
    executor: Executor,
    seed: Option<u64>,
) -> Result<Applier> {
    let backend = Arc::new(Backend::open(disk, BackendOptions::default())?);
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
    };
    let tokens = TokenOptions::parse(&config.auth_token)?;
    let lessor = LessorOptions::new(config.election_timeout);
    Applier::open(
        backend,
        ApplierOptions {
            mvcc: MvccOptions {
                min_lease_ttl_s: lessor.min_ttl,
                compaction: match executor {
                    Executor::Threads => CompactionMode::Thread,
                    Executor::Inline | Executor::Slow(_) => CompactionMode::OnFlush,
                },
            },
            snapshot_folder: scratch,
            quota: Quota::new(config.quota_backend_bytes),
            tokens: Tokens::new(&tokens, config.auth_token_ttl, Arc::new(clock))?,
            bcrypt_cost: BcryptCost::new(config.bcrypt_cost),
            lessor,
            watch: WatchOptions {
                progress_interval: config.watch_progress_notify_interval,
                fragment_bytes: config.max_request_bytes.saturating_add(OVERHEAD_BYTES),
                executor,
                seed: seed.unwrap_or_else(rand::random),
                ..WatchOptions::default()
            },
        },
    )
}

fn raft_config(
    config: &Config,
    identity: &Identity,
    scratch: PathBuf,
    seed: Option<u64>,
) -> RaftConfig {
    let defaults = RaftConfig::new(identity.cluster_id, identity.member_id, scratch);
    RaftConfig {
        seed: seed.unwrap_or(defaults.seed),
        heartbeat: config.heartbeat_interval,
        election: config.election_timeout,
        // What the store wraps around a request is more than what etcd wraps around it, which is what the flag counts.
        max_request_bytes: config.max_request_bytes.saturating_add(1024),
        strict_reconfig_check: config.strict_reconfig_check,
        max_learners: config.max_learners,
        keep_entries: config.snapshot_count.clamp(100, 5_000),
        ..defaults
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::members::Member;

    /// A restore gives its members ids and names that the settings do not lead to, so a start that ended between the
    /// birth and the log's first entry must not ask the settings again.
    #[tokio::test]
    async fn a_member_killed_at_its_birth_starts_with_the_founders_it_was_born_with() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap();
        let founder = Member {
            id: 7,
            name: "restored".to_owned(),
            peer_urls: vec!["http://elsewhere:2380".to_owned()],
            ..Member::default()
        };
        let born = Identity {
            cluster_id: 9,
            member_id: founder.id,
            peer_urls: founder.peer_urls.clone(),
            founders: vec![founder],
        };
        folder.give_birth(&born, |_| Ok(())).unwrap();
        let seed = root.path().join("seed");
        fs::create_dir(&seed).unwrap();
        fs::write(seed.join("db"), "was taken in already").unwrap();

        let config = Config::alone("renamed", root.path());
        let node = Node::start(config, Environment::default()).await.unwrap();
        let elected = tokio::time::timeout(Duration::from_secs(30), node.has_leader());
        elected.await.unwrap().unwrap();
        let options = node.engine().options();
        assert_eq!((options.cluster_id, options.member_id), (9, 7));
        assert!(!seed.exists());
        node.stop().await.unwrap();
    }
}
